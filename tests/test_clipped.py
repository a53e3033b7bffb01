"""Clipping inside the backward pass: against the recursion written as a loop, and against explosion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, small_case, weigh

from seqjax import Cell, UserError, cells, spec, unroll, zero_nudge
from seqjax.cells.clipped import clip_steps
from seqjax.cells.lstm import LSTMCarry
from seqjax.unroll import recording

begin = functools.partial(small_case, batch=3)


def slopes(cell, params, xs, lengths=None):
    """Gradients with respect to the parameters and every entering carry, in NumPy."""

    def run(params, nudge):
        return weigh(unroll(cell, params, xs, lengths=lengths, nudge=nudge)[1])

    both = jax.jit(lambda params: jax.grad(run, (0, 1))(params, zero_nudge(cell, params, xs)))
    return jax.tree.map(np.asarray, both(params))


@functools.cache
def unclipped(form, lengths):
    """A cell with its inputs, its slopes without a clip, the carries that enter, and one step's pullback."""
    cell, params, xs = begin(form)
    lengths = None if lengths is None else np.array(lengths)
    record = jax.jit(lambda p: unroll(recording(cell), p, xs, lengths=lengths)[1][0])
    pull = jax.jit(lambda s, x, bars: jax.vjp(lambda p, s: cell.step(p, s, x), params, s)[1](bars))
    carries = jax.tree.map(np.asarray, record(params))
    return cell, params, xs, slopes(cell, params, xs, lengths), carries, pull


def by_loop(params, xs, carries, pull, clip, lengths):
    """The backward pass of one sequence after another, its clip in plain numpy."""
    ys_bar = noise(98, *xs.shape[:2], 3)
    total = jax.tree.map(np.zeros_like, params)
    deltas = jax.tree.map(np.zeros_like, carries)
    for b in range(xs.shape[1]):
        delta = jax.tree.map(lambda leaf, b=b: np.zeros_like(leaf[0, b]), carries)
        for t in reversed(range(xs.shape[0] if lengths is None else int(lengths[b]))):
            entering = jax.tree.map(lambda leaf, t=t, b=b: leaf[t, b], carries)
            slope, delta = pull(entering, xs[t, b], (delta, ys_bar[t, b]))
            delta = clip(delta)
            total = jax.tree.map(np.add, total, slope)
            jax.tree.map(lambda whole, one, t=t, b=b: whole.__setitem__((t, b), one), deltas, delta)
    return total, deltas


def by_norm(limit):
    def clip(delta):
        norm = np.sqrt(sum(np.sum(np.asarray(leaf) ** 2) for leaf in jax.tree.leaves(delta)))
        return jax.tree.map(lambda leaf: np.asarray(leaf) * min(1.0, limit / norm), delta)

    return clip


def by_value(limit):
    return lambda delta: jax.tree.map(lambda leaf: np.clip(leaf, -limit, limit), delta)


@pytest.mark.parametrize("lengths", [None, (6, 1, 2)])
@pytest.mark.parametrize("form", ["lstm(hidden=3)", "gru(hidden=3)"])
@pytest.mark.parametrize("how, clip", [({"norm": 0.7}, by_norm(0.7)), ({"value": 0.2}, by_value(0.2))])
def test_each_sequence_is_clipped_at_each_step(form, how, clip, lengths, float64):
    cell, params, xs, free, carries, pull = unclipped(form, lengths)
    lengths = None if lengths is None else np.array(lengths)
    wanted = by_loop(params, xs, carries, pull, clip, lengths)
    found = slopes(clip_steps(cell, **how), params, xs, lengths)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-14), found, wanted)
    assert max(np.abs(a - b).max() for a, b in zip(jax.tree.leaves(free), jax.tree.leaves(found))) > 0.01
    if "norm" in how:
        norms = np.sqrt(sum(np.sum(leaf**2, -1) for leaf in jax.tree.leaves(found[1])))
        assert norms.max() < 0.7 * (1 + 1e-12) and np.any(norms[norms > 0] < 0.69)  # some are cut, some are left


@pytest.mark.parametrize("how", [{"norm": 1e6}, {"value": 1e6}])
def test_a_limit_that_is_not_reached_changes_nothing(how, float64):
    cell, params, xs = begin("lstm(hidden=3)", steps=2)
    free, found = slopes(cell, params, xs), slopes(clip_steps(cell, **how), params, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-14, 1e-16), free, found)


def test_clipped_is_a_spec():
    """clipped(cell=..., norm=...) is clip_steps of that cell; with no limit it is the cell itself."""
    cell = spec.build("lstm(hidden=3)", [cells], Cell)
    named = spec.build("clipped(cell='lstm(hidden=3)', norm=0.1)", [cells], Cell)
    assert named.step is clip_steps(cell, norm=0.1).step
    assert spec.build("clipped(cell='lstm', hidden=3)", [cells], Cell).step is cell.step


@pytest.mark.parametrize("how", [{"norm": 0.01}, {"value": 0.01}])
def test_values_are_unchanged(how):
    cell, params, xs = begin("lstm(hidden=3)")
    run = jax.jit(functools.partial(unroll, strategy="scan"), static_argnums=0)
    jax.tree.map(np.testing.assert_array_equal, run(clip_steps(cell, **how), params, xs), run(cell, params, xs))


def test_one_sequence_alone_and_under_vmap_is_clipped_as_in_a_batch(float64):
    cell, params, xs = begin("lstm(hidden=3)", steps=2)
    small = clip_steps(cell, norm=0.1)
    carry = LSTMCarry(np.full((3, 3), 0.3), np.full((3, 3), 0.3))
    one = jax.grad(lambda s, x: jnp.sum(small.step(params, s, x)[1]))
    first = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)  # noqa: E731
    run = jax.jit(lambda s, x: (one(s, x), jax.vmap(one)(s, x), one(first(s), first(x))))
    whole, mapped, alone = jax.tree.map(np.asarray, run(carry, xs[0]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12), (mapped, alone), (whole, first(whole)))
    np.testing.assert_allclose(sum(np.sum(leaf**2, -1) for leaf in jax.tree.leaves(whole)), 0.01, rtol=1e-12)


def test_an_explosion_far_beyond_float32_is_cut():
    """Growing tenfold a step, δ would be 1e200; the square of its norm would be infinite from 1e20 on."""
    cell, params, xs = begin("rnn(hidden=3, activation='identity')", steps=200)
    params, xs = params._replace(w_h=10 * np.eye(3)[[2, 0, 1]], b=0 * params.b), 0 * xs
    _, delta = slopes(clip_steps(cell, norm=2.0), params, xs)
    np.testing.assert_allclose(np.linalg.norm(delta.h[:-1], axis=-1), 2.0, rtol=1e-5)
    assert not np.all(np.isfinite(slopes(cell, params, xs)[1].h))
    steep = cell._replace(step=lambda p, s, x: (s, 1e30 * s.h))
    _, delta = slopes(clip_steps(steep, norm=2.0), params, xs[:1])
    np.testing.assert_allclose(np.linalg.norm(delta.h, axis=-1), 2.0, rtol=1e-5)


def test_zero_stays_zero_and_nan_stays_nan():
    cell, params, xs = begin("rnn(hidden=3)", steps=1)
    for fill in (0.0, jnp.nan):
        given = cell._replace(step=lambda p, s, x, fill=fill: (s, fill * s.h))
        for how in ({"norm": 1.0}, {"value": 1.0}):
            np.testing.assert_array_equal(slopes(clip_steps(given, **how), params, xs)[1].h, fill)


def test_equal_clips_are_one_step():
    cell, *_ = begin("lstm(hidden=3)")
    assert clip_steps(cell, norm=1).step is clip_steps(cell, norm=1.0).step
    assert clip_steps(cell, norm=1.0).step is not clip_steps(cell, value=1.0).step


@pytest.mark.parametrize(
    "how, says",
    [
        ({}, "one of the two"),
        ({"norm": 1.0, "value": 1.0}, "one of the two"),
        ({"norm": 0}, "norm=0"),
        ({"value": -1.0}, "value=-1"),
        ({"norm": float("inf")}, "norm=inf"),
    ],
)
def test_refusals(how, says):
    cell, *_ = begin("lstm(hidden=3)")
    with pytest.raises(UserError, match=says):
        clip_steps(cell, **how)


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    with pytest.raises(UserError, match="int32"):
        clip_steps(counting, norm=1.0).step((), np.zeros(1, np.int32), np.zeros(1))

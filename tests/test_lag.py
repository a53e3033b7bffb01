"""The gradient by time step: against explicit Jacobians, the ordinary gradient, closed forms, and underflow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import begin, noise, random_params, shaped
from jax.flatten_util import ravel_pytree

from seqjax import Cell, Task, UserError, cells, spec, tasks, unroll
from seqjax.gradients import lag
from seqjax.gradients.lag import by_lag, lag_histogram, mean_log10, model_step_gradients, step_gradients
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.states import flat, flat_step
from seqjax.models import sequence_model
from seqjax.types import Direction
from seqjax.unroll import recording


def make(form, length=4, width=2, lengths=None, reverse=False):
    """A Direction on random inputs of two sequences, and ∂L/∂y_t at every step, for L = Σ weights · y."""
    cell = spec.build(form, [cells], Cell)
    params, xs, weights = random_params(cell, float), noise(1, length, 2, 3), noise(2, length, 2, width)
    lengths = None if lengths is None else np.array(lengths)
    way = Direction(cell, params, reverse)
    return way, taped(way, xs, lengths), xs, Scaled(weights, np.zeros_like(weights[..., 0])), lengths


def taped(way, xs, lengths=None):
    """The carry that enters each step."""
    run = lambda params: unroll(recording(way.cell), params, xs, lengths=lengths, reverse=way.reverse)[1][0]  # noqa: E731
    return jax.tree.map(np.asarray, jax.jit(run)(way.params))


def ordinary(way, xs, ys_bar, lengths):
    """dL/dW by jax.grad through unroll."""

    def loss(params):
        return jnp.sum(unroll(way.cell, params, xs, lengths=lengths, reverse=way.reverse)[1] * ys_bar.value)

    return jax.jit(jax.grad(loss))(way.params)


def plain(gradient):
    """A Scaled tree's numbers."""
    return jax.tree.map(lambda leaf: leaf * np.exp(gradient.log), jax.tree.map(np.asarray, gradient.value))


def same(found, wanted, rtol=1e-10):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13), found, wanted)


@pytest.mark.parametrize("lengths, reverse", [(None, False), ([4, 2], False), ([2, 4], True)])
def test_against_products_of_jacobians(float64, lengths, reverse):
    """Each step's part of an LSTM's gradient, from dense Jacobians, which do not commute."""
    way, carries, xs, ys_bar, lengths = make("lstm(hidden=2)", lengths=lengths, reverse=reverse)
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, lengths))()

    @jax.jit
    def by_weights_and_state(params, carries):
        theta, unravel = ravel_pytree(params)
        each = jax.jacobian(lambda p, s, x: flat_step(way.cell, unravel(p))(s, x), (0, 1))
        return jax.vmap(jax.vmap(functools.partial(each, theta)))(flat(carries), xs)

    dense = jax.tree.map(np.asarray, by_weights_and_state(way.params, carries))
    by_weights, jacobians = ([dense[k][which] for k in (0, 1)] for which in (0, 1))
    leaves, tree = jax.tree.flatten(way.params)
    parts = np.zeros((4, 2, sum(leaf.size for leaf in leaves)))
    for b in range(2):
        steps = range(4 if lengths is None else int(lengths[b]))
        delta = np.zeros(4)
        for t in steps if reverse else reversed(steps):
            parts[t, b] = by_weights[0][t, b].T @ delta + by_weights[1][t, b].T @ ys_bar.value[t, b]
            delta = jacobians[0][t, b].T @ delta + jacobians[1][t, b].T @ ys_bar.value[t, b]
    pieces = np.split(parts, np.cumsum([leaf.size for leaf in leaves])[:-1], -1)
    parts = jax.tree.unflatten(tree, [piece.reshape(4, 2, *leaf.shape) for piece, leaf in zip(pieces, leaves)])
    whole = jax.tree.map(lambda leaf: leaf.sum((0, 1)), parts)
    same(plain(found.gradient), whole)
    same(whole, ordinary(way, xs, ys_bar, lengths))

    columns = {"input_gate": (0, 2), "forget_gate": (2, 4), "candidate": (4, 6), "output_gate": (6, 8)}
    groups = {"all": [("w_x", (0, 8)), ("w_h", (0, 8)), ("b", (0, 8))]}
    for block, places in columns.items():
        groups[block] = [(leaf, places) for leaf in ("w_x", "w_h", "b")]
        groups |= {f"{leaf}/{block}": [(leaf, places)] for leaf in ("w_x", "w_h", "b")}
    groups |= {leaf: [(leaf, (0, 8))] for leaf in ("w_x", "w_h", "b")}
    assert set(found.log10_norm) == set(found.share) == set(groups)
    for name, members in groups.items():
        g_t = np.concatenate([getattr(parts, leaf)[..., i:j].reshape(4, 2, -1) for leaf, (i, j) in members], -1)
        g = g_t.sum((0, 1))
        norms = np.linalg.norm(g_t, axis=-1)
        np.testing.assert_allclose(10 ** np.asarray(found.log10_norm[name]), norms, rtol=1e-10)
        np.testing.assert_allclose(found.share[name], g_t @ g / (g @ g), rtol=1e-9, atol=1e-13)


def test_the_sum_over_steps_is_the_gradient_of_training(float64):
    task = spec.build("parity(length=6, min_length=2)", [tasks], Task)
    cell = spec.build("gru(hidden=3)", [cells], Cell)
    model = sequence_model(cell, 2, 2, readout="last", tokens=True, layers=2, bidirectional=True)
    params, batch = shaped(model.init, 0.5), task.sample(jax.random.key(1), 3)

    @jax.jit
    def both(params):
        grads = jax.grad(lambda params: 3 * task.loss(model.apply(params, batch.inputs, batch.lengths)[0], batch))(
            params
        )
        return [[way.params for way in layer] for layer in model.layers(grads)], model_step_gradients(
            model, params, batch, task.loss
        )

    wanted, found = both(params)
    for layer, trees in zip(found, wanted):
        assert len(layer) == len(trees)
        for each, tree in zip(layer, trees):
            same(plain(each.gradient), tree)
            assert "b_n" in each.share and "w_h/update_gate" in each.share and "b_n/update_gate" not in each.share
            for share in each.share.values():
                np.testing.assert_allclose(np.sum(share), 1.0, rtol=1e-12)
            padding = np.arange(6)[:, None] >= np.asarray(batch.lengths)
            assert np.all(np.asarray(each.log10_norm["all"])[padding] == -np.inf)
            assert np.all(np.asarray(each.share["all"])[padding] == 0)


@pytest.mark.parametrize("length", [1, 2, 600])
def test_a_linear_cell_far_below_float32(length):
    """∂L/∂b at step t is δ_{t+1}, which falls by ρ a step where W_h is ρ times a rotation."""
    cell = spec.build("rnn(hidden=4, activation='identity', recurrent_scale=0.3)", [cells], Cell)
    way = Direction(cell, begin(cell, 2, 0), False)
    xs, ys_bar = noise(1, length, 3, 2), np.zeros((length, 3, 4), np.float32)
    ys_bar[-1] = noise(2, 3, 4)

    @jax.jit
    def run(params, xs, ys_bar):
        carries = unroll(recording(cell), params, xs)[1][0]
        found = step_gradients(way._replace(params=params), carries, xs, Scaled(ys_bar, jnp.zeros((length, 3))))
        return found, mean_log10(by_lag(found.log10_norm["b"]))

    found, curve = jax.tree.map(np.asarray, run(way.params, xs, ys_bar))
    assert curve.dtype == jnp.float32
    np.testing.assert_allclose(curve - curve[0], np.arange(length) * np.log10(0.3), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.share["all"].sum(), 1.0, rtol=1e-5)
    assert np.all(np.isfinite(found.share["all"]))
    assert set(found.share) == {"all", "w_x", "w_h", "b"}


def test_a_tiny_loss_has_the_same_shares():
    """A loss of 1e-200: the norms are told as such in float32, the shares stay."""
    way, carries, xs, ys_bar, _ = make("rnn(hidden=2)")
    once = jax.jit(lambda ys_bar: step_gradients(way, carries, xs, ys_bar))
    found = jax.tree.map(np.asarray, once(ys_bar))
    tiny = once(ys_bar._replace(log=np.full((4, 2), -200 * np.log(10.0), np.float32)))
    for name, norm in found.log10_norm.items():
        np.testing.assert_allclose(tiny.log10_norm[name], norm - 200, rtol=1e-5)
        np.testing.assert_allclose(tiny.share[name], found.share[name], rtol=1e-3, atol=1e-5)


def test_nothing_in_the_padding_counts_and_few_at_a_time_are_the_same(float64, monkeypatch):
    way, carries, xs, ys_bar, lengths = make("rnn(hidden=2)", lengths=[4, 2])
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, lengths))()
    monkeypatch.setattr(lag, "HELD", 1)
    xs[2:, 1] = ys_bar.value[2:, 1] = np.nan
    filled = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, lengths))()
    same(filled, found)


@pytest.mark.parametrize(
    "form, blocks",
    [
        ("lstm(hidden=2)", ["input_gate", "forget_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, coupled=True)", ["input_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, input_gate=False)", ["forget_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, full_gate_recurrence=True)", ["input_gate", "forget_gate", "candidate", "output_gate"]),
        ("scaled(cell='lstm(hidden=2, coupled=True, output_gate=False)', c=0.5)", ["input_gate", "candidate"]),
        *((f"lstm(hidden=2, block_size=2, {gate}=False)", []) for gate in ("forget_gate", "input_gate", "output_gate")),
        ("gru(hidden=2)", ["reset_gate", "update_gate", "candidate"]),
        ("linen(cell='OptimizedLSTMCell', hidden=2)", []),
    ],
)
def test_blocks_of_the_known_cells(form, blocks):
    cell = spec.build(form, [cells], Cell)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 3))

    def share(params, xs, ys_bar):
        carries = unroll(recording(cell), params, xs)[1][0]
        return step_gradients(Direction(cell, params, False), carries, xs, Scaled(ys_bar, ys_bar[..., 0])).share

    found = jax.eval_shape(share, params, noise(1, 2, 2, 3), noise(2, 2, 2, 2))
    assert {name.removeprefix("b/") for name in found if name.startswith("b/")} == set(blocks)
    assert set(blocks) <= set(found)
    assert bool(blocks) != ("linen" in form or "block_size" in form) and ("hf.kernel" in found) == ("linen" in form)


def test_blocks_can_be_named():
    way, carries, xs, ys_bar, _ = make("rnn(hidden=4)", width=4)
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, blocks=("slow", "fast")))()
    norms = {name: np.asarray(norm) for name, norm in found.log10_norm.items()}
    halves = (norms[f"w_h/{name}"] for name in ("slow", "fast"))
    np.testing.assert_allclose(100 ** norms["w_h"], sum(100**half for half in halves), rtol=1e-5)
    with pytest.raises(UserError, match="last axis of 4 is not 3 equal blocks"):
        step_gradients(way, carries, xs, ys_bar, blocks=("a", "c", "d"))
    with pytest.raises(UserError, match="'b' is the name of a parameter"):
        step_gradients(way, carries, xs, ys_bar, blocks=("a", "b"))


def test_steps_in_the_order_of_their_lag():
    values, lengths = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]]), np.array([3, 1])
    run = jax.jit(lambda v, n: [by_lag(v, which, reverse=back) for which in (None, n) for back in (False, True)])
    forward, backward, short, short_backward = run(values, lengths)
    np.testing.assert_array_equal(forward, values[::-1])
    np.testing.assert_array_equal(backward, values)
    np.testing.assert_array_equal(short, [[2, 10], [1, np.nan], [0, np.nan]])
    np.testing.assert_array_equal(short_backward, [[0, 10], [1, np.nan], [2, np.nan]])


def test_means_and_histograms():
    logs = np.array([[-300.0, -300.0], [1.0, np.log10(30.0)], [2.0, 7.0]])
    of_all, of_some = jax.jit(lambda logs, n: (mean_log10(logs), mean_log10(logs, n)))(logs, np.array([2, 1]))
    np.testing.assert_allclose(of_all[:2], [-300, np.log10(20)], rtol=1e-6)
    np.testing.assert_allclose(of_some, [-300, 1, np.nan], rtol=1e-6)
    share = np.array([[0.1, 0.2], [0.3, 0.0], [0.4, 0.0]])
    edges, bars = lag_histogram(share)
    assert edges.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(bars, [0.4, 0.3, 0.3], rtol=1e-6)
    edges, bars = lag_histogram(share, [0, 1, 3], np.array([3, 1]))
    np.testing.assert_allclose(bars, [0.6, 0.4], rtol=1e-6)
    edges, bars = lag_histogram(np.ones((1, 1)))
    assert edges.tolist() == [0, 1] and bars.tolist() == [1]
    with pytest.raises(UserError, match="each larger than the one before"):
        lag_histogram(share, [0, 2, 2])


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda params, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    ys_bar = Scaled(jnp.ones((2, 1, 1)), jnp.zeros((2, 1)))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        step_gradients(Direction(counting, (), False), jnp.zeros((2, 1, 1), jnp.int32), jnp.zeros((2, 1, 1)), ys_bar)

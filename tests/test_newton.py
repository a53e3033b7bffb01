"""Newton iterations on whole trajectories: the plain scan's values and gradients, and what is said on failure."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal, noise, random_carry, random_params

from seqjax import Cell, UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.indrnn import indrnn
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import RNNParams, rnn
from seqjax.unroll import newton

B, D, H = 3, 2, 3
solve = jax.jit(newton, static_argnames=("cell", "reverse", "jacobian", "damping", "tolerance", "max_iterations"))
plain = jax.jit(unroll, static_argnums=0)


def drawn(cell, steps, dtype=jnp.float64):
    """Parameters, inputs [steps, B, D], a carry, a nudge."""
    params, xs = random_params(cell, dtype, D), noise(1, steps, B, D).astype(dtype)
    nudge = jax.tree.map(lambda leaf: 0.1 * noise(3, *leaf.shape).astype(dtype), zero_nudge(cell, params, xs))
    return params, xs, random_carry(cell, params, B), nudge


def slopes(run):
    """Gradients of a loss that reads carry and ys, with respect to params, xs, start and nudge; and what was run."""

    def loss(params, xs, start, nudge):
        carry, ys, *told = run(params, xs, start, nudge)
        weight = jnp.cos(jnp.arange(ys.size, dtype=ys.dtype)).reshape(ys.shape)
        ends = sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(carry))
        return jnp.sum(weight * ys) + ends, ((carry, ys), told)

    return jax.grad(loss, (0, 1, 2, 3), has_aux=True)


@functools.partial(jax.jit, static_argnames=("cell", "reverse", "jacobian", "damping", "max_iterations"))
def compare(cell, params, clean, spoiled, start, lengths=None, reverse=False, **options):
    """Both ways: gradients, carry and ys; and what Newton's way tells of itself."""

    def scan(params, xs, start, nudge):
        return unroll(cell, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge)

    def fast(params, xs, start, nudge):
        return newton(cell, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge, **options)

    by_scan, (values, _) = slopes(scan)(params, clean[0], start, clean[1])
    by_newton, (found, told) = slopes(fast)(params, spoiled[0], start, spoiled[1])
    return (by_newton, found), (by_scan, values), told


@pytest.mark.parametrize(
    "cell, reverse, options",
    [(lstm(H), False, {}), (gru(H), True, {"jacobian": "diagonal", "damping": 0.3})],
    ids=["lstm", "gru, diagonal, damped, reversed"],
)
def test_values_and_gradients_are_the_scans(cell, reverse, options, float64):
    """With a carry, nudged, padded with NaN of which no value and no gradient knows; one sequence without steps."""
    params, xs, start, nudge = drawn(cell, 4)
    lengths = jnp.array([4, 0, 3])
    late = (np.arange(4)[:, None] >= lengths)[..., None]
    spoiled = jax.tree.map(lambda leaf: jnp.asarray(np.where(late, np.nan, leaf)), (xs, nudge))
    found, expected, (iterations, residual, converged) = compare(
        cell, params, (xs, nudge), spoiled, start, lengths, reverse, **options
    )
    assert bool(converged) and 0 < int(iterations) < 100 and float(residual) < 1e-12
    close(found, expected, 1e-10)


def test_gradients_of_a_wide_cell_go_step_by_step(float64, monkeypatch):
    """Beyond MAX_STATE: the same numbers; full Jacobians are refused with a word on what to do."""
    cell = gru(H, reset_after=False)  # a step of its own, for which nothing was traced with another MAX_STATE
    params, xs, start, nudge = drawn(cell, 4)
    monkeypatch.setattr(sys.modules[newton.__module__], "MAX_STATE", 2)
    with pytest.raises(UserError, match="3 numbers, expected at most 2; 'quasi_deer'"):
        newton(cell, params, xs)
    lengths, given = jnp.array([4, 1, 3]), (xs, nudge)
    found, expected, told = compare(cell, params, given, given, start, lengths, True, jacobian="diagonal")
    assert bool(told[2])
    close(found, expected, 1e-10)


@pytest.mark.parametrize("steps", [0, 1, 2, 1000])
def test_any_number_of_steps(steps, float64):
    cell = rnn(H)
    params, xs, start, _ = drawn(cell, steps)
    result = solve(cell, params, xs, start)
    close((result.carry, result.ys), plain(cell, params, xs, start), 1e-10)
    assert bool(result.converged)
    assert int(result.iterations) == 0 if steps < 2 else 0 < int(result.iterations) < 30


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_dtypes_are_the_scans(dtype):
    cell = rnn(H)
    params, xs, start, _ = drawn(cell, 9, dtype)
    result = solve(cell, params, xs, start)
    assert bool(result.converged) and result.ys.dtype == dtype and result.carry.h.dtype == dtype
    close((result.carry, result.ys), plain(cell, params, xs, start), 1e-5 if dtype == jnp.float32 else 5e-2)


def test_how_many_iterations_it_takes(float64):
    """One for units apart; of six steps five, as the first is right, where nothing of the Jacobians is used."""

    def count(cell, **options):
        return int(solve(cell, *drawn(cell, 6)[:2], **options).iterations)

    assert count(indrnn(H, activation="identity"), jacobian="diagonal") == 1
    assert 1 < count(rnn(H)) < count(rnn(H), jacobian="diagonal") <= count(rnn(H), damping=1.0) == 5


def chaotic(gain=20.0):
    """W_h = gain · orthogonal, wide enough that Newton's method loses itself."""
    w_h = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    return rnn(8), RNNParams(*map(jnp.asarray, (np.ones((D, 8)), gain * w_h, np.zeros(8))))


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_without_convergence_the_result_is_the_plain_scans(jacobian, float64):
    """And says so. Values bit for bit, gradients to rounding."""
    cell, params = chaotic()
    xs, start = noise(1, 9, B, D), cell.initial_carry(params, (B,))
    given = xs, zero_nudge(cell, params, xs)
    found, expected, (iterations, residual, converged) = compare(
        cell, params, given, given, start, jacobian=jacobian, max_iterations=2
    )
    assert not bool(converged) and int(iterations) == 2 and float(residual) > 1e-3
    equal(found[1], expected[1])
    close(found[0], expected[0])


def roots():
    """h_t = w sqrt(h_{t-1}) + x_t from 1 on. Where x_t = 0 the iterations begin at zero, where the slope is infinite."""

    def step(w, h, x):
        h = jnp.sqrt(h) * w + x
        return h, h

    return Cell(lambda key, size: jnp.ones(1), lambda w, shape: jnp.ones((*shape, 1)), step)


def test_nan_ends_the_iterations(float64):
    given = jnp.zeros((4, 1)), jnp.zeros((4, 1))
    found, expected, (iterations, residual, converged) = compare(roots(), jnp.ones(1), given, given, jnp.ones(1))
    assert not bool(converged) and int(iterations) == 1 and not np.isfinite(residual)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    close(found, expected)


def test_mapped_over_sequences_of_which_one_does_not_converge(float64):
    """Each as alone, its gradients too: no NaN of what is thrown away reaches them."""
    xs, cell = jnp.array([1.0, 0.0])[:, None, None] * jnp.ones((4, 1)), roots()
    both = jax.jit(jax.vmap(lambda x: compare(cell, jnp.ones(1), (x, 0 * x), (x, 0 * x), jnp.ones(1))))
    found, expected, (_, _, converged) = both(xs)
    assert converged.tolist() == [True, False]
    close(found, expected, 1e-10)


def test_forwards_over_backwards(float64):
    """Second order: a product with the Hessian, of parameters and nudge, through a padded sequence."""
    cell = rnn(2)
    params, xs, lengths = random_params(cell, input_size=D), noise(1, 3, 2, D), jnp.array([3, 2])
    at = params, zero_nudge(cell, params, xs)
    towards = jax.tree.map(lambda leaf: noise(5, *leaf.shape), at)

    def product(strategy):
        def loss(params, nudge):
            return jnp.sum(jnp.sin(unroll(cell, params, xs, lengths=lengths, nudge=nudge, strategy=strategy)[1]))

        return jax.jvp(jax.grad(loss, (0, 1)), at, towards)

    close(*jax.jit(lambda: [product(strategy) for strategy in ("scan", "deer")])(), 1e-10)


def test_batches_of_any_shape(float64):
    cell = rnn(H)
    params, xs, lengths = random_params(cell, input_size=D), noise(1, 4, 2, 3, D), jnp.array([[1, 4, 3], [2, 4, 4]])
    result = solve(cell, params, xs, lengths=lengths)
    close((result.carry, result.ys), plain(cell, params, xs, lengths=lengths), 1e-10)
    close(solve(cell, params, xs[:, 0, 1]).ys, result.ys[:, 0, 1], 1e-10)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"jacobian": "half"}, "jacobian='half'; expected 'full' or 'diagonal'"),
        ({"damping": 1.5}, "damping=1.5; expected from 0 to 1"),
        ({"tolerance": 0.0}, "tolerance=0.0; expected more than 0"),
        ({"max_iterations": -1}, "max_iterations=-1; expected at least 0"),
    ],
)
def test_refusals(options, says):
    params, xs = random_params(rnn(H), jnp.float32, D), noise(1, 4, B, D)
    with pytest.raises(UserError, match=says):
        newton(rnn(H), params, xs, **options)

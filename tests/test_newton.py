"""Newton iterations on whole trajectories: the plain scan's values and gradients, and what is said on failure."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal, noise, random_carry, random_params

from seqjax import Cell, UserError, unroll, zero_nudge
from seqjax.cells.indrnn import indrnn
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import rnn
from seqjax.unroll import newton, trajectory

B, D, H = 3, 2, 3
solve = jax.jit(newton, static_argnames=("cell", "reverse", "jacobian", "damping", "tolerance", "max_iterations"))
plain = jax.jit(unroll, static_argnums=0)


def drawn(cell, steps, dtype=jnp.float64):
    """Parameters, inputs [steps, B, D], a carry, a nudge."""
    params, xs = random_params(cell, dtype, D), noise(1, steps, B, D).astype(dtype)
    nudge = jax.tree.map(lambda leaf: (0.1 * noise(3, *leaf.shape)).astype(dtype), zero_nudge(cell, params, xs))
    return params, xs, random_carry(cell, params, B), nudge


def slopes(run):
    """Gradients of a loss that reads carry and ys, with respect to params, xs, start and nudge; and what was run."""

    def loss(params, xs, start, nudge):
        carry, ys, *told = run(params, xs, start, nudge)
        weight = jnp.cos(jnp.arange(ys.size, dtype=ys.dtype)).reshape(ys.shape)
        ends = sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(carry))
        return jnp.sum(weight * ys) + ends, ((carry, ys), told)

    return jax.grad(loss, (0, 1, 2, 3), has_aux=True)


@partial(jax.jit, static_argnames=("cell", "reverse", "jacobian", "damping", "max_iterations"))
def compare(cell, params, clean, spoiled, start, lengths=None, reverse=False, **options):
    """Both ways: gradients, carry and ys; and what Newton's way tells of itself."""

    def scan(params, xs, start, nudge):
        return unroll(cell, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge, strategy="scan")

    def fast(params, xs, start, nudge):
        return newton(cell, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge, **options)

    by_scan, (values, _) = slopes(scan)(params, clean[0], start, clean[1])
    by_newton, (found, told) = slopes(fast)(params, spoiled[0], start, spoiled[1])
    return (by_newton, found), (by_scan, values), told


def with_nan_in_the_padding(lengths, xs, nudge):
    """Of which no value and no gradient is to know."""
    late = (np.arange(len(xs))[:, None] >= lengths)[..., None]
    return jax.tree.map(lambda leaf: np.where(late, np.nan, leaf), (xs, nudge))


def test_values_and_gradients_are_the_scans(float64):
    """From a given carry of two parts, nudged, padded; one sequence without steps."""
    cell = lstm(2, input_gate=False, forget_gate=False, output_gate=False)
    params, xs, start, nudge = drawn(cell, 4)
    lengths = np.array([4, 0, 3])
    spoiled = with_nan_in_the_padding(lengths, xs, nudge)
    found, expected, (iterations, residual, converged) = compare(cell, params, (xs, nudge), spoiled, start, lengths)
    assert bool(converged) and 0 < int(iterations) < 100 and float(residual) < 1e-12
    close(found, expected, 1e-10)


def test_a_wide_cell_reversed_and_damped(float64, monkeypatch):
    """Beyond MAX_STATE full Jacobians are refused, with a word on what to do, and gradients go step by step."""
    cell = rnn(H, activation="sigmoid")  # a step of its own, for which nothing was traced with another MAX_STATE
    params, xs, start, nudge = drawn(cell, 4)
    monkeypatch.setattr(trajectory, "MAX_STATE", 2)
    with pytest.raises(UserError, match="3 numbers, expected at most 2; 'quasi_deer'"):
        newton(cell, params, xs)
    lengths = np.array([4, 1, 3])
    spoiled = with_nan_in_the_padding(lengths, xs, nudge)
    found, expected, (*_, converged) = compare(
        cell, params, (xs, nudge), spoiled, start, lengths, True, jacobian="diagonal", damping=0.3
    )
    assert bool(converged)
    close(found, expected, 1e-10)


@pytest.mark.parametrize("steps", [0, 1, 2, 1000])
def test_any_number_of_steps(steps, float64):
    cell = rnn(H)
    params, xs, start, _ = drawn(cell, steps)
    result = solve(cell, params, xs, start)
    close((result.carry, result.ys), plain(cell, params, xs, start), 1e-10)
    assert bool(result.converged)
    assert int(result.iterations) == 0 if steps < 2 else 0 < int(result.iterations) < 30


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_past_the_last_step_are_all_steps(reverse, float64):
    """As `unroll` takes them."""
    cell = rnn(H)
    params, xs, start, _ = drawn(cell, 4)
    beyond, exact = (
        solve(cell, params, xs, start, lengths=np.array(each), reverse=reverse) for each in ([9, 4, 2], [4, 4, 2])
    )
    equal(beyond, exact)


def test_dtypes_are_the_scans():
    """bfloat16 throughout; parameters in bfloat16 and a carry in float32; and the values."""
    cell = rnn(H)
    params, xs, start, _ = drawn(cell, 4, jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start)
    for begin in (start, wide):
        found, expected = (
            jax.eval_shape(run, params, xs, begin) for run in (partial(newton, cell), partial(unroll, cell))
        )
        assert jax.tree.map(lambda leaf: leaf.dtype, found[:2]) == jax.tree.map(lambda leaf: leaf.dtype, expected)
    result = solve(cell, params, xs, start)
    assert bool(result.converged)
    close((result.carry, result.ys), plain(cell, params, xs, start), 5e-2)


def test_how_many_iterations_it_takes(float64):
    """One for units apart; of six steps five, as the first is right, where nothing of the Jacobians is used."""

    def count(cell, **options):
        return int(solve(cell, *drawn(cell, 6)[:2], **options).iterations)

    assert count(indrnn(H, activation="identity"), jacobian="diagonal") == 1
    assert 1 < count(rnn(H)) < count(rnn(H), jacobian="diagonal") <= count(rnn(H), damping=1.0) == 5


def test_without_convergence_the_result_is_the_plain_scans(float64):
    """And says so. Values bit for bit, gradients to rounding."""
    cell = rnn(H, recurrent_init="normal", recurrent_scale=20.0)  # chaotic
    params = random_params(cell, input_size=D)
    xs, start = noise(1, 6, B, D), cell.initial_carry(params, (B,))
    given = xs, zero_nudge(cell, params, xs)
    found, expected, (iterations, residual, converged) = compare(cell, params, given, given, start, max_iterations=2)
    assert not bool(converged) and int(iterations) == 2 and float(residual) > 1e-3
    equal(found[1], expected[1])
    close(found[0], expected[0])


def roots():
    """h_t = w sqrt(h_{t-1}) + x_t from 1 on. Where x_t = 0 the iterations begin at zero, with an infinite slope."""

    def step(w, h, x):
        h = jnp.sqrt(h) * w + x
        return h, h

    return Cell(lambda key, size: jnp.ones(1), lambda w, shape: jnp.ones((*shape, 1)), step)


def test_nan_ends_the_iterations(float64):
    given, one = (np.zeros((4, 1)), np.zeros((4, 1))), np.ones(1)
    found, expected, (iterations, residual, converged) = compare(roots(), one, given, given, one)
    assert not bool(converged) and int(iterations) == 1 and not np.isfinite(residual)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    close(found, expected)


def test_nan_in_a_large_array_is_seen():
    """XLA's maximum on a CPU passes over NaN in thousands of numbers: products of Jacobians that overflow."""
    steps, batch, cell = 1000, 4, rnn(8)
    params = cell.init(jax.random.key(0), 2)
    params = params._replace(w_h=3 * params.w_h)
    xs = jax.random.normal(jax.random.key(1), (steps, batch, 2))
    start = cell.initial_carry(params, (batch,))
    found = jax.jit(lambda params, xs: newton(cell, params, xs, start))(params, xs)
    wanted = jax.jit(lambda params, xs: unroll(cell, params, xs, strategy="scan")[1])(params, xs)
    assert not bool(found.converged) and np.isfinite(wanted).all()
    np.testing.assert_array_equal(found.ys, wanted)


def test_mapped_over_sequences_of_which_one_does_not_converge(float64):
    """The gradient of a mapped run: no NaN of what is thrown away reaches it."""
    xs, cell = np.array([1.0, 0.0])[:, None, None] * np.ones((4, 1)), roots()

    def slope(run):
        def loss(w, xs, start):
            _, ys, *told = jax.vmap(lambda x: run(cell, w, x, start))(xs)
            return jnp.sum(jnp.sin(ys)), told

        return jax.grad(loss, (0, 1, 2), has_aux=True)(jnp.ones(1), xs, jnp.ones(1))

    (found, (*_, converged)), (expected, _) = jax.jit(lambda: (slope(newton), slope(unroll)))()
    assert converged.tolist() == [True, False]
    close(found, expected, 1e-10)


def test_forwards_over_backwards(float64):
    """Second order: a product with the Hessian, of parameters and nudge, through a padded sequence."""
    cell = rnn(2)
    params, xs, lengths = random_params(cell, input_size=D), noise(1, 3, 2, D), np.array([3, 2])
    at = params, zero_nudge(cell, params, xs)
    towards = jax.tree.map(lambda leaf: noise(5, *leaf.shape), at)

    def product(strategy):
        def loss(params, nudge):
            return jnp.sum(jnp.sin(unroll(cell, params, xs, lengths=lengths, nudge=nudge, strategy=strategy)[1]))

        return jax.jvp(jax.grad(loss, (0, 1)), at, towards)

    close(*jax.jit(lambda: [product(strategy) for strategy in ("scan", "deer")])(), 1e-10)


def test_batches_of_any_shape_in_float32():
    cell, lengths = rnn(H), np.array([[1, 4, 3], [2, 4, 4]])
    params, xs = random_params(cell, jnp.float32, D), noise(1, 4, 2, 3, D)
    result = solve(cell, params, xs, lengths=lengths)
    assert bool(result.converged) and result.ys.dtype == jnp.float32
    close((result.carry, result.ys), plain(cell, params, xs, lengths=lengths), 1e-5)
    close(solve(cell, params, xs[:, 0, 1]).ys, np.asarray(result.ys)[:, 0, 1], 1e-5)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"jacobian": "half"}, "jacobian='half'; expected 'full' or 'diagonal'"),
        ({"damping": 1.5}, "damping=1.5; expected from 0 to 1"),
        ({"tolerance": 0.0}, "tolerance=0.0; expected more than 0"),
        ({"tolerance": 1.5}, "tolerance=1.5; expected more than 0, less than 1"),
        ({"max_iterations": -1}, "max_iterations=-1; expected at least 0"),
    ],
)
def test_refusals(options, says):
    params, xs = random_params(rnn(H), jnp.float32, D), noise(1, 4, B, D)
    with pytest.raises(UserError, match=says):
        newton(rnn(H), params, xs, **options)

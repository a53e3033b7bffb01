"""Lyapunov exponents: linear maps, the Hénon and the logistic map, determinants, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import begin, noise

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.gradients.jacobians import step_jacobians
from seqjax.gradients.lyapunov import WARMUP, lyapunov
from seqjax.gradients.singular import singular_values
from seqjax.types import Direction
from seqjax.unroll import recording


def a_map(function, start):
    """A map s -> function(s) as a Cell that does not look at its input."""
    start = np.asarray(start)

    def step(params, s, x):
        s = function(s)
        return s, s

    return Cell(lambda key, _: (), lambda params, shape: jnp.broadcast_to(start, (*shape, start.size)), step)


def tape(cell, xs, lengths=None, reverse=False, carry=None):
    cell = spec.build(cell, [cells], Cell) if isinstance(cell, str) else cell
    params = begin(cell, xs.shape[-1], 0)
    run = jax.jit(lambda params, xs: unroll(recording(cell), params, xs, carry, lengths=lengths, reverse=reverse))
    return Direction(cell, params, reverse), jax.tree.map(np.asarray, run(params, xs)[1][0]), xs


def exponents(way, carries, xs, lengths=None, **options):
    """`lyapunov` compiled, its answer in NumPy."""
    return jax.tree.map(np.asarray, jax.jit(lambda c: lyapunov(way, c, xs, lengths, **options))(carries))


def henon(s):
    """x' = 1 - 1.4 x² + y, y' = 0.3 x: the determinant is -0.3 everywhere."""
    x, y = s[..., 0], s[..., 1]
    return jnp.stack([1 - 1.4 * x**2 + y, 0.3 * x], -1)


def test_a_linear_map_has_the_logarithms_of_its_eigenvalues(float64):
    """Non-normal, so that its singular values are not its eigenvalues."""
    basis = np.array([[1, 3, -2], [0, 1, 4], [0, 0, 1.0]])
    matrix = basis @ np.diag([1.5, -0.7, 0.2]) @ np.linalg.inv(basis)
    way, carries, xs = tape(a_map(lambda s: s @ matrix.T, np.zeros(3)), np.zeros((300, 2, 1)))
    found = exponents(way, carries, xs, warmup=200)
    np.testing.assert_allclose(found.mean, np.log([1.5, 0.7, 0.2]), rtol=1e-10)
    np.testing.assert_allclose(found.exponents, np.broadcast_to(found.mean, (2, 3)), rtol=1e-10)
    assert abs(found.maximal - np.log(np.linalg.norm(matrix, 2))) > 1
    assert np.all(np.isnan(found.running[:200])) and np.all(np.isfinite(found.running[200:]))


def test_a_warm_up_leaves_out_the_share_that_a_random_direction_has_of_the_leading_one(float64):
    """Of n directions of which one is kept and the others shrink to .6: all that is lost is lost at the beginning."""
    n, steps, batch = 64, 100, 400
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]
    matrix = basis @ np.diag([1.0, *[0.6] * (n - 1)]) @ basis.T
    way, carries, xs = tape(a_map(lambda s: s @ matrix, np.zeros(n)), np.zeros((steps, batch, 1)))
    key = jax.random.key(0)
    start = np.asarray(jax.random.normal(key, (batch, n, 1))[..., 0])
    share = np.abs(start @ basis[:, 0]) / np.linalg.norm(start, axis=-1)
    low = exponents(way, carries, xs, k=1, key=key)
    np.testing.assert_allclose(low.exponents[:, 0], np.log(share) / steps, atol=1e-12)
    assert low.maximal < -np.log(n) / (2 * steps), "as the docstring says, and a little more: E ln|z| is below 0"
    late = exponents(way, carries, xs, k=1, key=key, warmup=WARMUP)
    turned = share / np.sqrt(share**2 + (1 - share**2) * 0.6**20)
    np.testing.assert_allclose(late.exponents[:, 0], np.log(turned) / 90, atol=1e-12)
    assert abs(late.maximal) < abs(low.maximal) / 40


def test_a_share_of_the_steps_is_that_many_steps_of_each_sequence(float64):
    xs, lengths = noise(1, 12, 3, 3), np.array([12, 4, 7])
    way, carries, _ = tape("gru(hidden=3)", xs, lengths)
    shares = exponents(way, carries, xs, lengths, warmup=0.25)
    for number, steps in enumerate([3, 1, 1]):
        wanted = exponents(way, carries, xs, lengths, warmup=steps)
        np.testing.assert_array_equal(shares.exponents[number], wanted.exponents[number])


def test_an_orthogonal_map_has_none(float64):
    way, carries, xs = tape("rnn(hidden=4, activation='identity')", np.ones((50, 1, 2)))
    np.testing.assert_allclose(exponents(way, carries, xs).exponents, np.zeros((1, 4)), atol=1e-8)


def test_the_henon_map(float64):
    """λ_1 = 0.4192 (Sprott 2003), within 4 standard errors; λ_1 + λ_2 = ln 0.3 at every number of steps."""
    start = np.random.default_rng(0).uniform(0.05, 0.15, (100, 2))
    way, carries, xs = tape(a_map(henon, [0.1, 0.1]), np.zeros((3000, 100, 1)), carry=start)
    found = exponents(way, carries, xs, warmup=100)
    error = np.std(found.exponents[:, 0], ddof=1) / 10
    assert error < 1.5e-3
    assert abs(found.maximal - 0.4192) < 4 * error
    np.testing.assert_allclose(found.exponents.sum(-1), np.full(100, np.log(0.3)), rtol=1e-9)
    np.testing.assert_allclose(found.running[100:].sum(-1), np.full(2900, np.log(0.3)), rtol=1e-9)
    np.testing.assert_allclose(found.running[-1], found.mean)
    late, early = (np.abs(found.running[steps, 0] - 0.4192).mean() for steps in (slice(2000, None), slice(101, 200)))
    assert late < early
    one = exponents(way, carries, xs, k=1, warmup=100)
    np.testing.assert_allclose(one.maximal, found.maximal, atol=error)


def test_the_logistic_map(float64):
    """x' = 4x(1 - x) has λ = ln 2; the mean over sequences is within 4 of its standard errors.

    It starts from the map's own density, sin²(πu/2) with u uniform, for which each step's mean is ln 2.
    """
    start = np.sin(np.pi / 2 * np.random.default_rng(0).uniform(size=(100, 1))) ** 2
    cell = a_map(lambda x: 4 * x * (1 - x), [0.3])
    way, carries, xs = tape(cell, np.zeros((1000, 100, 1)), carry=start)
    found = exponents(way, carries, xs)
    error = np.std(found.exponents, ddof=1) / 10
    assert error < 2e-3
    assert abs(found.maximal - np.log(2)) < 4 * error


@pytest.mark.parametrize("reverse", [False, True])
def test_they_sum_to_the_determinants_and_padding_changes_nothing(float64, reverse):
    xs, lengths = noise(1, 12, 4, 3), np.array([12, 1, 2, 7])
    way, carries, _ = tape("gru(hidden=3)", xs, lengths, reverse)
    found = exponents(way, carries, xs, lengths)
    jacobians = jax.jit(lambda c: step_jacobians(way, c, xs, lengths))(carries)
    _, determinants = np.linalg.slogdet(np.asarray(jacobians))
    np.testing.assert_allclose(found.exponents.sum(-1), determinants.sum(0) / lengths, rtol=1e-10)
    late = exponents(way, carries, xs, lengths, warmup=2)
    assert np.isnan(late.exponents[:, 0]).tolist() == [False, True, True, False]
    np.testing.assert_allclose(late.mean, late.exponents[[0, 3]].mean(0), rtol=1e-12)
    counted = determinants[:5, 3] if reverse else determinants[2:7, 3]
    np.testing.assert_allclose(late.exponents[3].sum(), counted.mean(), rtol=1e-10)


def test_the_leading_ones_are_the_rates_of_the_products_singular_values(float64):
    way, carries, xs = tape("lstm(hidden=3)", noise(1, 400, 1, 2))
    rates = jax.jit(lambda c: singular_values(way, c, xs, lags=[400]).log10[0, 0])(carries) * np.log(10) / 400
    found = exponents(way, carries, xs)
    np.testing.assert_allclose(found.mean, rates, atol=0.02)
    few = exponents(way, carries, xs, k=2)
    np.testing.assert_allclose(few.mean, rates[:2], atol=0.02)
    assert np.all(np.abs(rates[:2]) > 0.1)


def test_a_singular_step_is_minus_infinity():
    """Without its output gate an LSTM's h is a function of its c: half of the directions are lost at once."""
    found = exponents(*tape("lstm(hidden=2, output_gate=False)", noise(1, 5, 2, 2)))
    assert np.all(np.isfinite(found.exponents[:, :2])) and np.all(found.exponents[:, 2:] == -np.inf)


def test_divergence_stays_visible():
    way, carries, xs = tape(a_map(lambda s: s**2, np.float32([2])), np.zeros((9, 1, 1), np.float32))
    assert np.isinf(carries[-1, 0, 0])
    assert np.isnan(exponents(way, carries, xs).maximal), "not -inf, which is a singular step"


def test_states_that_exploded_have_no_exponent(float64):
    """Though a relu's slope of NaN is 0, by which the gradient would vanish at once."""
    way, carries, xs = tape("rnn(hidden=3, activation='relu', recurrent_scale=1e9)", np.ones((60, 2, 2)))
    assert not np.isfinite(carries.h).all()
    assert np.isnan(exponents(way, carries, xs).maximal)


@pytest.mark.parametrize("length", [1, 2])
def test_short_sequences(float64, length):
    way, carries, xs = tape("rnn(hidden=2)", np.ones((length, 1, 2)))
    jacobians = jax.jit(lambda c: step_jacobians(way, c, xs))(carries)
    determinants = np.linalg.slogdet(np.asarray(jacobians))[1]
    np.testing.assert_allclose(exponents(way, carries, xs).mean.sum(), determinants.mean(), rtol=1e-10)


def test_bad_input():
    way, carries, xs = tape("rnn(hidden=2)", np.ones((3, 1, 2)))
    with pytest.raises(UserError, match="k=3; expected 1 to 2"):
        lyapunov(way, carries, xs, k=3)
    for warmup in (3, 1.5, -0.1, float("nan")):
        with pytest.raises(UserError, match=f"warmup={warmup}; expected whole steps up to 2, .* from 0 to below 1"):
            lyapunov(way, carries, xs, warmup=warmup)
    way, carries, xs = tape(a_map(lambda s: s + 1, [0]), np.ones((3, 1, 2)))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        lyapunov(way, carries, xs)


def test_half_precision_is_decomposed_in_single():
    way, carries, xs = tape("rnn(hidden=3)", np.ones((20, 2, 2)))
    wanted = exponents(way, carries, xs).exponents
    narrow = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tree)  # noqa: E731
    found = lyapunov(way._replace(params=narrow(way.params)), narrow(carries), narrow(xs), k=2)
    np.testing.assert_allclose(np.asarray(found.exponents, float), wanted[:, :2], atol=0.1)

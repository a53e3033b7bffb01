"""Jacobians and spectra: against jax.jacobian, dense SVDs, exact rational arithmetic and closed forms."""

from fractions import Fraction
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import begin, noise

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.gradients.adjoints import backward
from seqjax.gradients.jacobians import EXACT_LIMIT, adjoints_by_scan, step_jacobians
from seqjax.gradients.scaled import Scaled, log_norm
from seqjax.gradients.singular import singular_values
from seqjax.gradients.spectra import log10_condition_number
from seqjax.gradients.states import flat
from seqjax.types import Direction
from seqjax.unroll import recording


def linear(size):
    """s_t = X_t s_{t-1}, with the matrix X_t for an input: any sequence of Jacobians."""

    def step(params, s, x):
        s = (x.reshape(*s.shape, size) @ s[..., None])[..., 0]
        return s, s

    return Cell(lambda key, _: (), lambda params, shape: jnp.zeros((*shape, size)), step)


def matrices(js):
    """The linear cell on Jacobians [T, B, n, n], as the arguments of every function here."""
    size = js.shape[-1]
    return Direction(linear(size), (), False), np.zeros(js.shape[:3]), js.reshape(*js.shape[:2], -1)


def tape(cell, lengths=None, reverse=False, steps=6, batch=3):
    cell = spec.build(cell, [cells], Cell)
    params, xs = jax.tree.map(lambda leaf: leaf.astype(noise(0).dtype), begin(cell, 3, 0)), noise(1, steps, batch, 3)
    run = jax.jit(lambda params: unroll(recording(cell), params, xs, lengths=lengths, reverse=reverse)[1][0])
    return Direction(cell, params, reverse), jax.tree.map(np.asarray, run(params)), xs


def jacobians(way, carries, xs, lengths=None):
    """`step_jacobians`, compiled."""
    return np.asarray(jax.jit(lambda c: step_jacobians(way, c, xs, lengths))(carries))


def products(way, carries, xs, lengths):
    """∂s_T/∂s_{T-lag} by multiplication: {(sequence, lag): matrix}."""
    js, found = jacobians(way, carries, xs, lengths), {}
    for b, length in enumerate(lengths):
        product = np.eye(js.shape[-1])
        for lag in range(1, int(length) + 1):
            product = product @ js[lag - 1 if way.reverse else length - lag, b]
            found[b, lag] = product
    return found


def exact_log10_singular_values(js):
    """Of J_T ... J_1 in rational arithmetic: σ_1 ... σ_i is the largest singular value of the i-th compound."""
    product = np.vectorize(Fraction)(np.eye(js.shape[-1]))
    for j in js:
        product = np.vectorize(Fraction)(j) @ product

    def minor(rows, columns):
        block = product[np.ix_(rows, columns)]
        if len(rows) == 1:
            return block[0, 0]
        signs = [(-1) ** i for i in range(len(rows))]
        return sum(sign * block[0, i] * minor(rows[1:], columns[:i] + columns[i + 1 :]) for i, sign in enumerate(signs))

    logs, size = [0.0], len(product)
    for order in range(1, size + 1):
        places = list(combinations(range(size), order))
        compound = np.array([[minor(rows, columns) for columns in places] for rows in places])
        top = np.max(np.abs(compound))
        norm = np.linalg.norm((compound / top).astype(float), 2)
        shift = top.numerator.bit_length() - top.denominator.bit_length()
        logs.append(np.log10(norm) + np.log10(float(top / Fraction(2) ** shift)) + shift * np.log10(2))
    return np.diff(logs)


@pytest.mark.parametrize("reverse", [False, True])
def test_step_jacobians_are_those_of_jax(float64, reverse):
    lengths = np.array([6, 1, 4])
    way, carries, xs = tape("lstm(hidden=2)", lengths, reverse)
    found = jacobians(way, carries, xs, lengths)

    @jax.jit
    @jax.jacobian
    def jacobian(s, x):
        after, _ = way.cell.step(way.params, type(carries)(s[:2], s[2:]), x)
        return jnp.concatenate([after.h, after.c])

    for at in [(0, 0), (0, 1), (3, 2), (5, 0)]:
        wanted = jacobian(np.concatenate([carries.h[at], carries.c[at]]), xs[at])
        np.testing.assert_allclose(found[at], wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(found[4:, 2], np.broadcast_to(np.eye(4), (2, 4, 4)))


@pytest.mark.parametrize("reverse", [False, True])
def test_adjoints_by_scan_are_the_adjoints(float64, reverse):
    lengths = np.array([6, 1, 2])
    way, carries, xs = tape("lstm(hidden=2)", lengths, reverse)
    ys_bar = Scaled(noise(2, 6, 3, 2), noise(3, 6, 3))

    @jax.jit
    def both(carries):
        wanted = backward(way, carries, xs, ys_bar, lengths)[0]
        ways = Scaled(flat(wanted.value), wanted.log), adjoints_by_scan(way, carries, xs, ys_bar, lengths)
        return [each.value * jnp.exp(each.log)[..., None] for each in ways]

    wanted, found = both(carries)
    assert np.abs(np.asarray(wanted)[0]).min() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)


def test_adjoints_by_scan_do_not_underflow():
    cell = "rnn(hidden=4, activation='identity', recurrent_scale=1e-20)"
    way, carries, xs = tape(cell, steps=9, batch=1)
    ys_bar = Scaled(np.zeros((9, 1, 4), np.float32), np.zeros((9, 1), np.float32))
    ys_bar.value[-1] = 1
    found = jax.jit(lambda c: adjoints_by_scan(way, c, xs, ys_bar))(carries)
    assert found.value.dtype == jnp.float32
    size = jax.jit(log_norm)(found.value, found.log)
    np.testing.assert_allclose(np.asarray(size)[0, 0], np.log(2) + 9 * np.log(1e-20), rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_fan_is_the_svd_of_the_dense_products(float64, reverse):
    """An LSTM's Jacobians do not commute: another order of the product has other singular values."""
    lengths = np.array([6, 1, 2])
    way, carries, xs = tape("lstm(hidden=2)", lengths, reverse)
    fan = jax.tree.map(np.asarray, jax.jit(lambda c: singular_values(way, c, xs, lengths))(carries))
    dense = products(way, carries, xs, lengths)
    assert fan.lags.tolist() == [1, 2, 3, 4, 5, 6]
    for b, length in enumerate(lengths):
        for lag in range(1, length + 1):
            wanted = np.linalg.svd(dense[b, lag], compute_uv=False)
            np.testing.assert_allclose(fan.log10[lag - 1, b], np.log10(wanted), atol=1e-11)
        assert np.all(np.isnan(fan.log10[length:, b]))
    js = jacobians(way, carries, xs, lengths)[:, 0]
    wrong = np.linalg.multi_dot(js if not reverse else js[::-1])
    assert abs(np.log10(np.linalg.norm(wrong, 2)) - fan.log10[-1, 0, 0]) > 1e-3


def test_badly_conditioned_products_are_exact(float64):
    """Every singular value, down to 1e-50 of the largest, has the digits of rational arithmetic."""
    rng = np.random.default_rng(0)
    js = rng.normal(size=(30, 3, 4, 4))
    js[:, 0] = np.diag([0.1, 0.3, 1, 3]) * rng.uniform(0.3, 0.9, (30, 4, 1)) + np.triu(3 * js[:, 0], 1)  # non-normal
    js[:, 1] *= 10.0 ** -np.arange(4)  # graded
    js[:, 2] *= 1e20 * np.array([1, 3, 9, 27])[:, None]  # growing
    way, carries, xs = matrices(js)
    found = np.asarray(jax.jit(lambda xs: singular_values(way, carries, xs, lags=[1, 2, 30]).log10)(xs))
    for b in range(3):
        for i, lag in enumerate([1, 2, 30]):
            np.testing.assert_allclose(found[i, b], exact_log10_singular_values(js[30 - lag :, b]), rtol=0, atol=2e-11)
    assert np.all(jax.jit(log10_condition_number)(found[-1]) > 15)
    # The non-normal product is triangular, so it is its own R; the diagonal is something else.
    diagonal = np.log10(np.abs(np.prod(np.diagonal(js[:, 0], axis1=1, axis2=2), 0)))
    assert np.max(np.abs(np.sort(diagonal)[::-1] - found[-1, 0])) > 0.5


def test_the_fan_neither_underflows_nor_overflows():
    rotations = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 2, 3, 3)))[0].astype(np.float32)
    scales = np.array([1e-3, 1e3], np.float32)[:, None, None]
    way, carries, xs = matrices(scales * rotations)
    log10 = np.asarray(jax.jit(lambda xs: singular_values(way, carries, xs).log10)(xs))
    assert log10.dtype == jnp.float32
    for b, slope in enumerate([-3, 3]):
        np.testing.assert_allclose(log10[:, b], np.repeat(slope * np.arange(1, 201)[:, None], 3, 1), rtol=1e-5)


@pytest.mark.parametrize("double", [False, True])
def test_lost_directions_are_zeros_and_small_ones_are_not(double):
    """A rank that falls from 5 to 3 and to 2 leaves -inf, a diagonal of 1e-12 does not."""
    with jax.enable_x64(double):
        rng = np.random.default_rng(0)
        js = rng.normal(size=(12, 51, 5, 5))
        js[10:, :, :, 3:] = js[10:, :, :, :2]  # of the last two steps, rank 3
        js[5] = js[5] @ np.diag([1, 1, 0, 0, 0]) @ rng.normal(size=(5, 5))
        js[:, 50] = np.diag(10.0 ** -np.arange(0, 15, 3))
        js = js.astype(np.float64 if double else np.float32)
        way, carries, xs = matrices(js)
        log10 = np.asarray(jax.jit(lambda xs: singular_values(way, carries, xs).log10)(xs))
        log10, diagonal = log10[:, :50], log10[:, 50]
        ranks = np.sum(np.isfinite(log10), -1)
        np.testing.assert_array_equal(ranks, np.broadcast_to(np.repeat([3, 2], 6)[:, None], (12, 50)))
        assert np.all(jax.jit(log10_condition_number)(log10) == np.inf)
        np.testing.assert_allclose(diagonal, -3.0 * np.arange(5) * np.arange(1, 13)[:, None], rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_leading_values_without_a_jacobian(float64, reverse):
    lengths, lags = np.array([6, 1, 5]), [1, 2, 3, 5, 6]
    way, carries, xs = tape("gru(hidden=9)", lengths, reverse)
    dense = products(way, carries, xs, lengths)
    there = {(b, i): dense[b, lag] for b in range(3) for i, lag in enumerate(lags) if (b, lag) in dense}

    def leading(**options):
        run = jax.jit(lambda c: singular_values(way, c, xs, lengths, lags=lags, **options).log10)
        log10 = np.asarray(run(carries))
        assert np.sum(~np.isnan(log10[..., 0])) == len(there)
        wanted = {at: np.log10(np.linalg.svd(matrix, compute_uv=False)) for at, matrix in there.items()}
        return np.array([log10[i, b] - wanted[b, i][: options["k"]] for b, i in there])

    gap = leading(k=3, oversample=3, tolerance=1e-5)
    assert gap.max() < 1e-12  # from below
    assert -1e-4 < gap.min() < -1e-12
    if not reverse:
        assert np.max(np.abs(leading(k=9, iterations=1))) < 1e-10


@pytest.mark.parametrize("length, k", [(1, None), (1, 2), (2, 2)])
def test_short_sequences(float64, length, k):
    way, carries, xs = tape("rnn(hidden=3)", steps=length, batch=1)
    fan = jax.jit(lambda c, xs: singular_values(way, c, xs, k=k))(carries, xs)
    assert fan.lags.tolist() == list(range(1, length + 1))
    dense = products(way, carries, xs, np.array([length]))
    for lag in range(1, length + 1):
        wanted = np.log10(np.linalg.svd(dense[0, lag], compute_uv=False))[:k]
        np.testing.assert_allclose(np.asarray(fan.log10)[lag - 1, 0], wanted, atol=1e-11)


def test_bad_input():
    wide = matrices(np.ones((1, 1, EXACT_LIMIT + 1, EXACT_LIMIT + 1)))
    with pytest.raises(UserError, match="carry of 129 numbers; dense Jacobians are for at most 128; give k="):
        singular_values(*wide)
    with pytest.raises(UserError, match="129 numbers; dense Jacobians are for at most 128; products with them"):
        step_jacobians(*wide)
    small = matrices(np.ones((2, 1, 2, 2)))
    with pytest.raises(UserError, match="k=3; expected 1 to 2"):
        singular_values(*small, k=3)
    for lags in ([0], [2, 1], [3], [], [1.5]):
        with pytest.raises(UserError, match="expected growing whole numbers from 1 to 2"):
            singular_values(*small, lags=lags)
    counting = Cell(lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s, x))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        step_jacobians(Direction(counting, (), False), np.zeros((2, 1, 1), np.int32), np.zeros((2, 1, 1)))

"""Spectra: the radius of recurrent blocks against what they are made of, condition and effective rank."""

import functools

import jax
import numpy as np
import pytest

from seqjax import UserError
from seqjax.gradients.scaled import log_norm
from seqjax.gradients.spectra import effective_rank, log10_condition_number, spectral_radius

radius = functools.partial(jax.jit, static_argnames="method")(spectral_radius)


def test_spectral_radius_of_each_block(float64):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    similar = rng.normal(size=(6, 6)) + 3 * np.eye(6)
    real = similar @ np.diag([-1.7, 1.6, 0.1, 0.2, 0.3, 0]) @ np.linalg.inv(similar)
    w_h = np.concatenate([0.9 * rotation, real, np.triu(rng.normal(size=(6, 6)), 1)], -1)
    found = {}
    for method, digits in [("eigvals", 1e-12), ("squaring", 1e-5), ("auto", 1e-12)]:
        found[method] = np.asarray(radius(w_h, method))
        np.testing.assert_allclose(found[method][:2], [0.9, 1.7], rtol=digits)
        assert found[method][2] < 1e-2  # nilpotent: eigenvalues zero, sensitive to rounding
    assert found["squaring"][2] == 0
    stack = np.asarray(radius(np.stack([w_h, 2 * w_h]), "squaring"))
    np.testing.assert_allclose(stack[1], 2 * stack[0], rtol=1e-9)
    with pytest.raises(UserError, match="6 by 16; expected square blocks"):
        spectral_radius(w_h[:, :16])
    with pytest.raises(UserError, match="'power'; expected 'auto'"):
        spectral_radius(w_h, "power")


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e37])
def test_the_spectral_radius_of_very_large_and_very_small_numbers(scale):
    """LAPACK's own answer in 32 bits is off by any factor there."""
    matrix = np.random.default_rng(0).normal(size=(6, 12)) / 6 * scale
    wanted = [np.abs(np.linalg.eigvals(block)).max() for block in np.split(matrix, 2, 1)]
    np.testing.assert_allclose(radius(matrix.astype(np.float32)), wanted, rtol=1e-5)


def test_condition_and_effective_rank():
    log10 = np.array([[0.0, 0, 0, 0], [-300, -300, -np.inf, -np.inf], [3, 0, 0, 0], [-np.inf] * 4])
    condition, rank = jax.jit(lambda log10: (log10_condition_number(log10), effective_rank(log10)))(log10)
    np.testing.assert_allclose(condition[:3], [0, np.inf, 3])
    p = np.array([1000, 1, 1, 1]) / 1003
    np.testing.assert_allclose(rank, [4, 2, np.exp(-np.sum(p * np.log(p))), 0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 2), (50, 8, 16), (200, 8, 4)])
def test_what_is_no_number_stays_none_in_small_and_large_arrays(shape):
    """A rank of 0 and a norm of 0 are of zeros alone."""
    nothing = np.full(shape, np.nan, np.float32)
    assert np.isnan(jax.jit(effective_rank)(nothing)).all()
    assert (jax.jit(effective_rank)(np.full(shape, -np.inf, np.float32)) == 0).all()
    one = np.zeros(shape, np.float32)
    one[..., -1] = np.nan
    norms = jax.jit(log_norm)(one, np.zeros(shape[:-1], np.float32))
    assert np.isnan(norms).all()
    assert (jax.jit(log_norm)(0 * np.ones(shape, np.float32), np.zeros(shape[:-1], np.float32)) == -np.inf).all()

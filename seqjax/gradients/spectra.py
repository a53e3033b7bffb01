"""Numbers of a spectrum: condition number, effective rank, spectral radius."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.gradients.norms import LN10
from seqjax.gradients.scaled import Scaled, rescaled
from seqjax.types import Array, UserError

EIGENVALUES_LIMIT = 128  # units up to which 'auto' takes the eigenvalues
SQUARINGS = 20


def log10_condition_number(log10: Array) -> Array:
    """log10 σ_1/σ_n [...] from log10 σ [..., n] in any order; inf where one of them is zero."""
    least = jnp.min(log10, -1)
    return jnp.where(least == -jnp.inf, jnp.inf, jnp.max(log10, -1) - least)


def effective_rank(log10: Array) -> Array:
    """exp(-Σ p_i ln p_i) with p_i = σ_i / Σσ, from log10 σ [..., n]; between 1 and n, and 0 for a zero matrix.

    (Roy & Vetterli 2007, "The effective rank")
    """
    p = jax.nn.softmax(log10 * LN10, -1)
    rank = jnp.exp(jnp.sum(jax.scipy.special.entr(p), -1))
    return jnp.where(jnp.all(log10 == -jnp.inf, -1), 0.0, rank)


def spectral_radius(w_h: Array, method: str = "auto") -> Array:
    """max |eigenvalue| of each square block of a recurrent matrix: [..., H, m·H] -> [..., m].

    'eigvals' takes the eigenvalues. 'squaring' takes ‖W^N‖^(1/N) with N = 2^20, by rescaled repeated
    squaring, in matrix products alone; it is too large by a factor of at most κ^(1/N), κ the condition
    number of the eigenvectors, and by N^((j-1)/N) where there is a Jordan block of size j. (Gelfand 1941)

    Args:
        w_h: the recurrent matrix with its gates' blocks side by side.
        method: 'eigvals', 'squaring', or 'auto': eigvals on the CPU up to EIGENVALUES_LIMIT units, else squaring.

    Raises:
        UserError: a matrix that square blocks do not fill, or an unknown method.
    """
    height, width = w_h.shape[-2:]
    if width % height:
        raise UserError(f"a matrix of {height} by {width}; expected square blocks side by side")
    if method not in ("auto", "eigvals", "squaring"):
        raise UserError(f"method={method!r}; expected 'auto', 'eigvals' or 'squaring'")
    blocks = jnp.moveaxis(w_h.reshape(*w_h.shape[:-1], width // height, height), -2, -3)
    if method == "auto":
        method = "eigvals" if jax.default_backend() == "cpu" and height <= EIGENVALUES_LIMIT else "squaring"
    if method == "eigvals":  # LAPACK gives wrong and unsteady numbers where entries are near the largest float
        _, exponent = jnp.frexp(jnp.max(jnp.abs(blocks), (-2, -1)))
        small = jnp.ldexp(blocks, -exponent[..., None, None]).astype(jnp.promote_types(blocks.dtype, jnp.float32))
        return jnp.ldexp(jnp.max(jnp.abs(jnp.linalg.eigvals(small)), -1), exponent).astype(blocks.dtype)

    def square(_: Array, state: Scaled) -> Scaled:
        return rescaled(Scaled(state.value @ state.value, 2 * state.log))

    start = rescaled(Scaled(blocks, jnp.zeros(blocks.shape[:-2], w_h.dtype)))
    power = jax.lax.fori_loop(0, SQUARINGS, square, start)
    norm = jnp.linalg.norm(power.value, axis=(-2, -1))
    return jnp.exp((power.log + jnp.log(norm)) / 2**SQUARINGS)

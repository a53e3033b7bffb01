"""The linear recurrent unit: a diagonal of complex eigenvalues that begin on a ring inside the unit circle."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.initializers import require_width
from seqjax.cells.linear import LinearStep
from seqjax.types import Array, Cell, UserError


class LRUParams(NamedTuple):
    """Complex matrices as real and imaginary part side by side."""

    nu: Array  # [H] ν: log -log |λ|
    theta: Array  # [H] θ: log arg λ
    gamma: Array  # [H] log γ
    w_b: Array  # [D, 2H] Re B, Im B
    w_c: Array  # [2H, H] Re C, -Im C, one above the other
    w_d: Array  # [D, H]


class LRUCarry(NamedTuple):
    """The complex state h as two real ones, since a laboratory of gradients wants real numbers."""

    re: Array  # [..., H]
    im: Array  # [..., H]


def coefficients(params: LRUParams, x: Array) -> tuple[LRUCarry, LRUCarry]:
    """λ and b_t of h_t = λ ⊙ h_{t-1} + b_t; the output is that of `read`.

        λ   = exp(-exp(ν) + i exp(θ))
        b_t = γ ⊙ (x_t B)
        y_t = Re(h_t C) + x_t D

    (Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences", section 3 and
    appendix A. D is a full matrix here, since inputs are not as wide as the state; in the paper, diagonal.)
    """
    size, angle, gamma = jnp.exp(-jnp.exp(params.nu)), jnp.exp(params.theta), jnp.exp(params.gamma)
    re, im = jnp.split(x @ params.w_b, 2, -1)
    return LRUCarry(size * jnp.cos(angle), size * jnp.sin(angle)), LRUCarry(gamma * re, gamma * im)


def read(params: LRUParams, carry: LRUCarry, x: Array) -> Array:
    """y_t = Re(h_t C) + x_t D = Re h_t Re C - Im h_t Im C + x_t D."""
    return jnp.concatenate(carry, -1) @ params.w_c + x @ params.w_d


def times(a: LRUCarry, s: LRUCarry) -> LRUCarry:
    """The product of complex numbers."""
    return LRUCarry(a.re * s.re - a.im * s.im, a.re * s.im + a.im * s.re)


STEP = LinearStep(coefficients, read, times)


def lru(hidden: int = 128, r_min: float = 0.0, r_max: float = 1.0, max_phase: float = 2 * math.pi) -> Cell:
    """A linear recurrent unit; the equation is in `coefficients`. It runs by strategy='associative'.

    λ begins uniform on the ring r_min <= |λ| <= r_max, with arguments in [0, max_phase], and γ as
    sqrt(1 - |λ|²), which keeps the state's variance at that of the input. For long memories the
    paper moves r_min and r_max towards 1 and takes a small max_phase, such as π/10. Parameters in bfloat16
    round a |λ| above .998 to 1, which forgets nothing: keep these in float32.

    Args:
        hidden: number of complex units H; outputs are as wide.
        r_min, r_max: inner and outer radius of the ring.
        max_phase: largest argument of λ, in radians.

    Raises:
        UserError: hidden < 1, no 0 <= r_min < r_max <= 1, or no 0 < max_phase <= 2π.
    """
    require_width(hidden)
    if not 0 <= r_min < r_max <= 1:
        raise UserError(f"r_min={r_min}, r_max={r_max}; expected 0 <= r_min < r_max <= 1")
    if not 0 < max_phase <= 2 * math.pi:
        raise UserError(f"max_phase={max_phase}; expected more than 0, up to 2π")

    def init(key: Array, input_size: int) -> LRUParams:
        key_r, key_phase, key_b, key_c, key_d = jax.random.split(key, 5)
        square = jax.random.uniform(key_r, (hidden,), minval=r_min**2, maxval=r_max**2)
        square = jnp.clip(square, jnp.finfo(square.dtype).tiny, 1 - jnp.finfo(square.dtype).eps)  # log, twice
        phase = jnp.maximum(max_phase * jax.random.uniform(key_phase, (hidden,)), jnp.finfo(square.dtype).tiny)
        return LRUParams(
            nu=jnp.log(-jnp.log(square) / 2),
            theta=jnp.log(phase),
            gamma=jnp.log(1 - square) / 2,
            w_b=jax.random.normal(key_b, (input_size, 2 * hidden)) / (2 * input_size) ** 0.5,
            w_c=jax.random.normal(key_c, (2 * hidden, hidden)) / hidden**0.5,
            w_d=jax.random.normal(key_d, (input_size, hidden)) / input_size**0.5,
        )

    return Cell(init, initial_carry, STEP)


def initial_carry(params: LRUParams, batch_shape: tuple[int, ...]) -> LRUCarry:
    """h_0 = 0, twice [*batch_shape, H]."""
    zeros = jnp.zeros((*batch_shape, params.nu.shape[0]), params.nu.dtype)
    return LRUCarry(zeros, zeros)

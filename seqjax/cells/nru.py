"""The non-saturating recurrent unit: a relu state beside a memory that is only added to."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell, UserError


class NRUParams(NamedTuple):
    """The hidden state's block; and k heads that write to the memory of M places and k that erase, S = √(k·M)."""

    w_x: Array  # [D, H]
    w_h: Array  # [H, H]
    w_m: Array  # [M, H]
    b: Array  # [H]
    w_strength: Array  # [H+M, 2k]  α of the k heads that write, β of those that erase
    b_strength: Array  # [2k]
    w_direction: Array  # [H+M, 4S]  p and q of writing, p and q of erasing
    b_direction: Array  # [4S]


class NRUCarry(NamedTuple):
    """The hidden state and the memory."""

    h: Array  # [..., H]
    m: Array  # [..., M]


def nru_step(params: NRUParams, carry: NRUCarry, x: Array) -> tuple[NRUCarry, Array]:
    """One step; the output is h_t.

        h_t = max(0, x_t W_x + h_{t-1} W_h + m_{t-1} W_m + b)
        α_t, β_t = (h_t, m_{t-1}) W_α + b_α                           [k] each
        p, q     = (h_t, m_{t-1}) W_v + b_v                           [S] each, for writing and erasing
        v        = p qᵀ [S, S] cut into k rows of M, each divided by its 5-norm
        m_t = m_{t-1} + 1/k Σ_j (α_j v_j^write - β_j v_j^erase)

    (Chandar et al. 2019, "Towards non-saturating recurrent units for modelling long-term dependencies";
    in detail, the mean over heads and heads that are linear among it, after the authors' code.)
    """
    h, m = carry
    h = tap("candidate", jax.nn.relu(x @ params.w_x + h @ params.w_h + m @ params.w_m + params.b))
    seen = jnp.concatenate([h, m], -1)
    strength = seen @ params.w_strength + params.b_strength
    heads = strength.shape[-1] // 2
    alpha, beta = tap("alpha", strength[..., :heads]), tap("beta", strength[..., heads:])
    factors = seen @ params.w_direction + params.b_direction
    write_p, write_q, erase_p, erase_q = jnp.split(factors, 4, -1)

    def rows(p: Array, q: Array) -> Array:
        return directions((p[..., :, None] * q[..., None, :]).reshape(*p.shape[:-1], heads, m.shape[-1]))

    change = alpha[..., None] * rows(write_p, write_q) - beta[..., None] * rows(erase_p, erase_q)
    return NRUCarry(h, m + jnp.mean(change, -2)), h


def directions(v: Array) -> Array:
    """v / ‖v‖₅ over the last axis, 0 where v is 0; relative to the largest, as fifth powers underflow."""
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(v), -1, keepdims=True))  # v / ‖v‖ is the same for any
    v = v / jnp.where(top == 0, 1, top)
    powers = jnp.sum(jnp.abs(v) ** 5, -1, keepdims=True)
    return v / jnp.where(powers == 0, 1, powers) ** 0.2


def nru(
    hidden: int = 128,
    memory: int = 64,
    heads: int = 4,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A non-saturating recurrent unit; the equation is in `nru_step`.

    Args:
        hidden: number of units H.
        memory: places M of the memory; memory · heads is a square number.
        heads: k that write, and as many that erase.
        recurrent_init, recurrent_scale: how W_h begins; see `initializers.recurrent`.
        input_init, input_scale: how all other matrices begin; see `initializers.inputs`.

    Raises:
        UserError: hidden, memory or heads < 1, or memory · heads that is not a square number.
    """
    initializers.require_width(hidden)
    side = math.isqrt(max(memory * heads, 0))
    if min(memory, heads) < 1 or side**2 != memory * heads:
        raise UserError(f"memory={memory}, heads={heads}; expected 1 or more, and a product that is a square number")

    def init(key: Array, input_size: int) -> NRUParams:
        key_h, *keys = jax.random.split(key, 5)
        shapes = [(input_size, hidden), (memory, hidden), (hidden + memory, 2 * heads), (hidden + memory, 4 * side)]
        w_x, w_m, w_strength, w_direction = (
            initializers.inputs(k, rows, columns, 1, input_init, input_scale)
            for k, (rows, columns) in zip(keys, shapes)
        )
        w_h = initializers.recurrent(key_h, hidden, 1, recurrent_init, recurrent_scale)
        return NRUParams(
            w_x, w_h, w_m, jnp.zeros(hidden), w_strength, jnp.zeros(2 * heads), w_direction, jnp.zeros(4 * side)
        )

    return Cell(init, initial_carry, nru_step)


def initial_carry(params: NRUParams, batch_shape: tuple[int, ...]) -> NRUCarry:
    """h_0 = 0 [*batch_shape, H], m_0 = 0 [*batch_shape, M]."""
    places, width = params.w_m.shape
    return NRUCarry(*(jnp.zeros((*batch_shape, size), params.w_m.dtype) for size in (width, places)))

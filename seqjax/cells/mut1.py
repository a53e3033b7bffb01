"""MUT1, the first of three cells that a search over ten thousand architectures found."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class MUT1Params(NamedTuple):
    """Three blocks: update z, reset r, candidate h; the update gate does not see the state."""

    w_x: Array  # [D, 3H], blocks z, r, h
    w_h: Array  # [H, 2H], blocks r, h
    b: Array  # [3H], blocks z, r, h


class MUT1Carry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def mut1_step(params: MUT1Params, carry: MUT1Carry, x: Array) -> tuple[MUT1Carry, Array]:
    """One step; the output is h_t.

        z_t = σ(x_t W_xz + b_z)
        r_t = σ(x_t W_xr + h_{t-1} W_hr + b_r)
        g_t = tanh((r_t ⊙ h_{t-1}) W_hh + tanh(x_t W_xh) + b_h)
        h_t = g_t ⊙ z_t + h_{t-1} ⊙ (1 - z_t)

    (Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent network
    architectures". In the paper tanh(x_t) stands alone, for inputs as wide as the state; here W_xh
    makes them so.)
    """
    h = carry.h
    width = h.shape[-1]
    z, r, new = jnp.split(x @ params.w_x, 3, -1)
    b_z, b_r, b_h = jnp.split(params.b, 3)
    z = tap("update_gate", jax.nn.sigmoid(z + b_z), fills=True)
    r = tap("reset_gate", jax.nn.sigmoid(r + h @ params.w_h[:, :width] + b_r))
    candidate = tap("candidate", jnp.tanh((r * h) @ params.w_h[:, width:] + jnp.tanh(new) + b_h))
    h = candidate * z + h * (1 - z)
    return MUT1Carry(h), h


def mut1(
    hidden: int = 128,
    update_bias: float = 0.0,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A MUT1 cell; the equation is in `mut1_step`.

    Args:
        hidden: number of units H.
        update_bias: what the update gate's bias begins with; negative keeps the state longer, as the
            gate lets the new in.
        recurrent_init, recurrent_scale: how W_h begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1.
    """
    initializers.require_width(hidden)

    def init(key: Array, input_size: int) -> MUT1Params:
        key_x, key_h = jax.random.split(key)
        zeros = jnp.zeros(hidden)
        return MUT1Params(
            w_x=initializers.inputs(key_x, input_size, hidden, 3, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 2, recurrent_init, recurrent_scale),
            b=jnp.concatenate([zeros + update_bias, zeros, zeros]),
        )

    return Cell(init, initial_carry, mut1_step)


def initial_carry(params: MUT1Params, batch_shape: tuple[int, ...]) -> MUT1Carry:
    """h_0 = 0, [*batch_shape, H]."""
    return MUT1Carry(jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype))

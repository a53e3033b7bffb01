"""The minimal gated unit: a GRU whose one gate both resets and updates."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class MGUParams(NamedTuple):
    """Two blocks: forget gate f, candidate h."""

    w_x: Array  # [D, 2H]
    w_h: Array  # [H, 2H]
    b: Array  # [2H]


class MGUCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def mgu_step(params: MGUParams, carry: MGUCarry, x: Array) -> tuple[MGUCarry, Array]:
    """One step; the output is h_t.

        f_t = σ(x_t W_xf + h_{t-1} W_hf + b_f)
        g_t = tanh(x_t W_xh + (f_t ⊙ h_{t-1}) W_hh + b_h)
        h_t = (1 - f_t) ⊙ h_{t-1} + f_t ⊙ g_t

    (Zhou et al. 2016, "Minimal gated unit for recurrent neural networks". The paper calls f the forget
    gate; open, it lets the new in.)
    """
    h = carry.h
    width = h.shape[-1]
    f, candidate = jnp.split(x @ params.w_x + params.b, 2, -1)
    f = tap("forget_gate", jax.nn.sigmoid(f + h @ params.w_h[:, :width]), fills=True)
    candidate = tap("candidate", jnp.tanh(candidate + (f * h) @ params.w_h[:, width:]))
    h = (1 - f) * h + f * candidate
    return MGUCarry(h), h


def mgu(
    hidden: int = 128,
    forget_bias: float = 0.0,
    max_lag: float | None = None,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A minimal gated unit; the equation is in `mgu_step`.

    Args:
        hidden: number of units H.
        forget_bias: what the gate's bias begins with; negative keeps the state longer, as the gate
            lets the new in.
        max_lag: chrono initialization, gate biases -log U[1, max_lag - 1], in the place of
            forget_bias. (Tallec & Ollivier 2018)
        recurrent_init, recurrent_scale: how W_h begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, max_lag <= 2, or forget_bias beside max_lag.
    """
    initializers.require_width(hidden)
    initializers.require_lag(max_lag, forget_bias=(forget_bias, 0.0))

    def init(key: Array, input_size: int) -> MGUParams:
        key_x, key_h, key_lag = jax.random.split(key, 3)
        zeros = jnp.zeros(hidden)
        fill = zeros + forget_bias if max_lag is None else -initializers.chrono(key_lag, hidden, max_lag)
        return MGUParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 2, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 2, recurrent_init, recurrent_scale),
            b=jnp.concatenate([fill, zeros]),
        )

    return Cell(init, initial_carry, mgu_step)


def initial_carry(params: MGUParams, batch_shape: tuple[int, ...]) -> MGUCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return MGUCarry(jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype))

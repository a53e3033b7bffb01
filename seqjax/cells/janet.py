"""JANET, just another network: an LSTM of which the forget gate alone is left."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.binding import bind
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class JANETParams(NamedTuple):
    """Two blocks: forget gate f, candidate c."""

    w_x: Array  # [D, 2H]
    w_h: Array  # [H, 2H]
    b: Array  # [2H]


class JANETCarry(NamedTuple):
    """The cell state, which is the hidden state too."""

    c: Array  # [..., H]


def janet_step(beta: float, params: JANETParams, carry: JANETCarry, x: Array) -> tuple[JANETCarry, Array]:
    """One step.

        s_t = x_t W_xf + h_{t-1} W_hf + b_f
        g_t = tanh(x_t W_xc + h_{t-1} W_hc + b_c)
        c_t = σ(s_t) ⊙ c_{t-1} + (1 - σ(s_t - β)) ⊙ g_t
        h_t = c_t                                              the output

    (van der Westhuizen & Lasenby 2018, "The unreasonable effectiveness of the forget gate".
    β, 1 in the paper, lets more in than the forget gate lets out.)
    """
    s, candidate = jnp.split(x @ params.w_x + carry.c @ params.w_h + params.b, 2, -1)
    forget, fill = tap("forget_gate", jax.nn.sigmoid(s)), tap("input_gate", jax.nn.sigmoid(beta - s))
    c = forget * carry.c + fill * tap("candidate", jnp.tanh(candidate))
    return JANETCarry(c), c


def janet(
    hidden: int = 128,
    beta: float = 1.0,
    forget_bias: float = 1.0,
    max_lag: float | None = None,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A JANET cell; the equation is in `janet_step`.

    Args:
        hidden: number of units H.
        beta: β.
        forget_bias: what the forget gate's bias begins with.
        max_lag: chrono initialization, forget biases log U[1, max_lag - 1], in the place of
            forget_bias; the paper trains with it. (Tallec & Ollivier 2018)
        recurrent_init, recurrent_scale: how W_h begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, max_lag <= 2, or forget_bias beside max_lag.
    """
    initializers.require_width(hidden)
    initializers.require_lag(max_lag, forget_bias=(forget_bias, 1.0))

    def init(key: Array, input_size: int) -> JANETParams:
        key_x, key_h, key_lag = jax.random.split(key, 3)
        zeros = jnp.zeros(hidden)
        keep = zeros + forget_bias if max_lag is None else initializers.chrono(key_lag, hidden, max_lag)
        return JANETParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 2, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 2, recurrent_init, recurrent_scale),
            b=jnp.concatenate([keep, zeros]),
        )

    return Cell(init, initial_carry, bind(janet_step, beta))


def initial_carry(params: JANETParams, batch_shape: tuple[int, ...]) -> JANETCarry:
    """c_0 = 0, [*batch_shape, H]."""
    return JANETCarry(jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype))

"""The minimal long short-term memory: two gates that read the input alone, so that the state moves linearly."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.linear import LinearStep
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class MinLSTMParams(NamedTuple):
    """Three blocks: input i, forget f, candidate g."""

    w_x: Array  # [D, 3H]
    b: Array  # [3H]


class MinLSTMCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def coefficients(params: MinLSTMParams, x: Array) -> tuple[MinLSTMCarry, MinLSTMCarry]:
    """a_t and b_t of h_t = a_t ⊙ h_{t-1} + b_t.

        i_t = σ(x_t W_i + b_i)
        f_t = σ(x_t W_f + b_f)
        g_t = x_t W_g + b_g
        h_t = f'_t ⊙ h_{t-1} + i'_t ⊙ g_t        f' = f / (f + i),  i' = i / (f + i); the output

    (Feng et al. 2024, "Were RNNs all we needed?", section 3.2. This is the plain form; the paper
    trains the log-space one of its appendix, in which g_t and h_t are positive.) The division is
    done as f' = σ(log f - log i), which has a value also where f and i both vanish. The taps are
    f' and i', by which the state is kept and filled.
    """
    i, f, g = jnp.split(x @ params.w_x + params.b, 3, -1)
    share = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
    f = tap("forget_gate", jax.nn.sigmoid(share))
    i = tap("input_gate", jax.nn.sigmoid(-share))
    return MinLSTMCarry(f), MinLSTMCarry(i * tap("candidate", g))


def read(params: MinLSTMParams, carry: MinLSTMCarry, x: Array) -> Array:
    """h_t."""
    return carry.h


STEP = LinearStep(coefficients, read)


def min_lstm(
    hidden: int = 128,
    forget_bias: float = 0.0,
    input_bias: float = 0.0,
    max_lag: float | None = None,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A minimal long short-term memory; the equation is in `coefficients`. It runs by strategy='associative'.

    Args:
        hidden: number of units H.
        forget_bias, input_bias: what the gates' biases begin with.
        max_lag: chrono initialization, forget biases log U[1, max_lag - 1] and input biases the
            negative of that, for which f' = f, in the place of forget_bias and input_bias.
            (Tallec & Ollivier 2018)
        input_init, input_scale: how W begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, max_lag <= 2, or one of the biases beside max_lag.
    """
    initializers.require_width(hidden)
    initializers.require_lag(max_lag, forget_bias=(forget_bias, 0.0), input_bias=(input_bias, 0.0))

    def init(key: Array, input_size: int) -> MinLSTMParams:
        key_x, key_lag = jax.random.split(key)
        zeros = jnp.zeros(hidden)
        fill, keep = zeros + input_bias, zeros + forget_bias
        if max_lag is not None:
            keep = initializers.chrono(key_lag, hidden, max_lag)
            fill = -keep
        return MinLSTMParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 3, input_init, input_scale),
            b=jnp.concatenate([fill, keep, zeros]),
        )

    return Cell(init, initial_carry, STEP)


def initial_carry(params: MinLSTMParams, batch_shape: tuple[int, ...]) -> MinLSTMCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return MinLSTMCarry(jnp.zeros((*batch_shape, params.w_x.shape[1] // 3), params.w_x.dtype))

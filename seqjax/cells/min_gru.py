"""The minimal gated recurrent unit: a gate that reads the input alone, so that the state moves linearly."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.linear import LinearStep
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class MinGRUParams(NamedTuple):
    """Two blocks: update z, candidate n."""

    w_x: Array  # [D, 2H]
    b: Array  # [2H]


class MinGRUCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def coefficients(params: MinGRUParams, x: Array) -> tuple[MinGRUCarry, MinGRUCarry]:
    """a_t and b_t of h_t = a_t ⊙ h_{t-1} + b_t.

        z_t = σ(x_t W_z + b_z)
        n_t = x_t W_n + b_n
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ n_t        the output

    (Feng et al. 2024, "Were RNNs all we needed?", section 3.1. This is the plain form; the paper
    trains the log-space one of its appendix, in which n_t and h_t are positive.)
    """
    z, n = jnp.split(x @ params.w_x + params.b, 2, -1)
    z = tap("update_gate", jax.nn.sigmoid(z), fills=True)
    return MinGRUCarry(1 - z), MinGRUCarry(z * tap("candidate", n))


def read(params: MinGRUParams, carry: MinGRUCarry, x: Array) -> Array:
    """h_t."""
    return carry.h


STEP = LinearStep(coefficients, read)


def min_gru(
    hidden: int = 128,
    update_bias: float = 0.0,
    max_lag: float | None = None,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A minimal gated recurrent unit; the equation is in `coefficients`. It runs by strategy='associative'.

    Args:
        hidden: number of units H.
        update_bias: what the update gate's bias begins with; negative keeps the state longer, as the
            gate lets the new in.
        max_lag: chrono initialization, update biases -log U[1, max_lag - 1], in the place of
            update_bias. (Tallec & Ollivier 2018)
        input_init, input_scale: how W begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, max_lag <= 2, or update_bias beside max_lag.
    """
    initializers.require_width(hidden)
    initializers.require_lag(max_lag, update_bias=(update_bias, 0.0))

    def init(key: Array, input_size: int) -> MinGRUParams:
        key_x, key_lag = jax.random.split(key)
        zeros = jnp.zeros(hidden)
        update = zeros + update_bias if max_lag is None else -initializers.chrono(key_lag, hidden, max_lag)
        return MinGRUParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 2, input_init, input_scale),
            b=jnp.concatenate([update, zeros]),
        )

    return Cell(init, initial_carry, STEP)


def initial_carry(params: MinGRUParams, batch_shape: tuple[int, ...]) -> MinGRUCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return MinGRUCarry(jnp.zeros((*batch_shape, params.w_x.shape[1] // 2), params.w_x.dtype))

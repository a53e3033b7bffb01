"""The gated recurrent unit, with the reset gate before or after the recurrent product."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell


class GRUParams(NamedTuple):
    """Three blocks: reset r, update z, candidate n."""

    w_x: Array  # [D, 3H], blocks in the order r, z, n of cuDNN and PyTorch
    w_h: Array  # [H, 3H]
    b: Array  # [3H]
    b_n: Array | None = None  # [H] bias inside the reset gate's product, where that comes after


class GRUCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def gru_step(params: GRUParams, carry: GRUCarry, x: Array) -> tuple[GRUCarry, Array]:
    """One step; the output is h_t.

        r_t = σ(x_t W_xr + h_{t-1} W_hr + b_r)
        z_t = σ(x_t W_xz + h_{t-1} W_hz + b_z)
        n_t = tanh(x_t W_xn + b_n' + r_t ⊙ (h_{t-1} W_hn + b_n))    reset after the product (b_n is there)
        n_t = tanh(x_t W_xn + b_n' + (r_t ⊙ h_{t-1}) W_hn)          reset before it
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    (Cho et al. 2014, eq. 5-8, where z keeps, as here; the first form of n: cuDNN, PyTorch, Keras, Flax)
    """
    h = carry.h
    width = h.shape[-1]
    r, z, n = jnp.split(x @ params.w_x + params.b, 3, -1)
    if params.b_n is None:
        r_h, z_h = jnp.split(h @ params.w_h[:, : 2 * width], 2, -1)
        r, z = reset_and_update(r + r_h, z + z_h)
        n = jnp.tanh(n + (r * h) @ params.w_h[:, 2 * width :])
    else:
        r_h, z_h, n_h = jnp.split(h @ params.w_h, 3, -1)
        r, z = reset_and_update(r + r_h, z + z_h)
        n = jnp.tanh(n + r * (n_h + params.b_n))
    h = (1 - z) * tap("candidate", n) + z * h
    return GRUCarry(h), h


def reset_and_update(r: Array, z: Array) -> tuple[Array, Array]:
    """σ of both gates' sums."""
    return tap("reset_gate", jax.nn.sigmoid(r)), tap("update_gate", jax.nn.sigmoid(z))


def gru(
    hidden: int = 128,
    reset_after: bool = True,
    update_bias: float = 0.0,
    max_lag: float | None = None,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A gated recurrent unit; the equation is in `gru_step`.

    Args:
        hidden: number of units H.
        reset_after: the reset gate acts on h W_hn (cuDNN, PyTorch, Flax) or, if False, on h (the paper).
        update_bias: what the update gate's bias begins with; positive keeps the state longer.
        max_lag: chrono initialization of the update gate's bias, log U[1, max_lag - 1], in the
            place of update_bias. (Tallec & Ollivier 2018, section 2.2)
        recurrent_init, recurrent_scale: how W_h begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, max_lag <= 2, or update_bias beside max_lag.
    """
    initializers.require_width(hidden)
    initializers.require_lag(max_lag, update_bias=(update_bias, 0.0))

    def init(key: Array, input_size: int) -> GRUParams:
        key_x, key_h, key_lag = jax.random.split(key, 3)
        zeros = jnp.zeros(hidden)
        keep = zeros + update_bias if max_lag is None else initializers.chrono(key_lag, hidden, max_lag)
        return GRUParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 3, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 3, recurrent_init, recurrent_scale),
            b=jnp.concatenate([zeros, keep, zeros]),
            b_n=zeros if reset_after else None,
        )

    return Cell(init, initial_carry, gru_step)


def initial_carry(params: GRUParams, batch_shape: tuple[int, ...]) -> GRUCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return GRUCarry(jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype))

"""Long expressive memory: two states, each with time steps of its own length, which the network chooses."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.binding import bind
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell, UserError


class LEMParams(NamedTuple):
    """Four blocks: the time steps 1 and 2, the states z and y."""

    w_x: Array  # [D, 4H]  V_1, V_2, V_z, V_y in the paper
    w_h: Array  # [H, 3H]  W_1, W_2, W_z, which read y
    w_z: Array  # [H, H]   W_y, which reads z
    b: Array  # [4H]


class LEMCarry(NamedTuple):
    """The state that is read, and the one behind it."""

    y: Array  # [..., H]
    z: Array  # [..., H]


def lem_step(dt: float, params: LEMParams, carry: LEMCarry, x: Array) -> tuple[LEMCarry, Array]:
    """One step; the output is y_t.

        Δ_t = Δt σ(x_t V_1 + y_{t-1} W_1 + b_1)
        Δ̄_t = Δt σ(x_t V_2 + y_{t-1} W_2 + b_2)
        z_t = (1 - Δ_t) ⊙ z_{t-1} + Δ_t ⊙ tanh(x_t V_z + y_{t-1} W_z + b_z)
        y_t = (1 - Δ̄_t) ⊙ y_{t-1} + Δ̄_t ⊙ tanh(x_t V_y + z_t W_y + b_y)

    (Rusch et al. 2022, "Long expressive memory for sequence modeling". The taps z_gate and
    y_gate are Δ_t and Δ̄_t, in the interval from 0 to Δt.)
    """
    y, z = carry
    one, two, new_z, new_y = jnp.split(x @ params.w_x + params.b, 4, -1)
    y_one, y_two, y_z = jnp.split(y @ params.w_h, 3, -1)
    step_z = tap("z_gate", dt * jax.nn.sigmoid(one + y_one), fills=True)
    step_y = tap("y_gate", dt * jax.nn.sigmoid(two + y_two), fills=True)
    z = (1 - step_z) * z + step_z * tap("z_candidate", jnp.tanh(new_z + y_z))
    y = (1 - step_y) * y + step_y * tap("y_candidate", jnp.tanh(new_y + z @ params.w_z))
    return LEMCarry(y, z), y


def lem(
    hidden: int = 128,
    dt: float = 1.0,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A long expressive memory; the equation is in `lem_step`.

    Args:
        hidden: number of units H; each state has as many.
        dt: Δt, the longest time step; a smaller one remembers longer.
        recurrent_init, recurrent_scale: how the W begin; see `initializers.recurrent`.
        input_init, input_scale: how the V begin; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1 or dt <= 0.
    """
    initializers.require_width(hidden)
    if not dt > 0:
        raise UserError(f"dt={dt}; expected more than 0")

    def init(key: Array, input_size: int) -> LEMParams:
        key_x, key_h, key_z = jax.random.split(key, 3)
        return LEMParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 4, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 3, recurrent_init, recurrent_scale),
            w_z=initializers.recurrent(key_z, hidden, 1, recurrent_init, recurrent_scale),
            b=jnp.zeros(4 * hidden),
        )

    return Cell(init, initial_carry, bind(lem_step, dt))


def initial_carry(params: LEMParams, batch_shape: tuple[int, ...]) -> LEMCarry:
    """y_0 = z_0 = 0, [*batch_shape, H]."""
    zeros = jnp.zeros((*batch_shape, params.w_z.shape[0]), params.w_z.dtype)
    return LEMCarry(zeros, zeros)

"""The coupled oscillatory network: each unit a damped, driven oscillator."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.binding import bind
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell, UserError


class CoRNNForm(NamedTuple):
    """The oscillators' constants, and how they are stepped."""

    dt: float
    gamma: float
    epsilon: float
    implicit: bool


class CoRNNParams(NamedTuple):
    """One force, of what comes in, of where the units are, and of how fast they move."""

    w_x: Array  # [D, H]  V in the paper
    w_h: Array  # [H, H]  W, on the positions y
    w_z: Array  # [H, H]  𝒲, on the velocities z
    b: Array  # [H]


class CoRNNCarry(NamedTuple):
    """Position and velocity."""

    y: Array  # [..., H]
    z: Array  # [..., H]


def cornn_step(form: CoRNNForm, params: CoRNNParams, carry: CoRNNCarry, x: Array) -> tuple[CoRNNCarry, Array]:
    """One step of y'' = tanh(x W_x + y W + y' 𝒲 + b) - γ y - ε y'; the output is y_t.

        a_t = tanh(x_t W_x + y_{t-1} W + z_{t-1} 𝒲 + b)
        z_t = z_{t-1} + Δt (a_t - γ y_{t-1} - ε z̄)        z̄ = z_{t-1}, or z_t where implicit
        y_t = y_{t-1} + Δt z_t

    (Rusch & Mishra 2021, "Coupled oscillatory recurrent neural network". The implicit form is
    solved for z_t, which costs a division by 1 + Δt ε.)
    """
    dt, gamma, epsilon, implicit = form
    y, z = carry
    force = tap("candidate", jnp.tanh(x @ params.w_x + y @ params.w_h + z @ params.w_z + params.b))
    damping = 0.0 if implicit else epsilon
    z = z + dt * (force - gamma * y - damping * z)
    z = z / (1 + dt * epsilon) if implicit else z
    y = y + dt * z
    return CoRNNCarry(y, z), y


def cornn(
    hidden: int = 128,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
    implicit: bool = False,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A coupled oscillatory cell; the equation is in `cornn_step`.

    The constants matter more than the width, and each task has its own in the paper; these are those
    of the authors' code for sequential MNIST.

    Args:
        hidden: number of oscillators H.
        dt: Δt, the time between two inputs.
        gamma: γ, what draws a unit back to rest: the square of its frequency.
        epsilon: ε, damping.
        implicit: damp by the new velocity; explicit, as in the authors' code, if False.
        recurrent_init, recurrent_scale: how W and 𝒲 begin; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, dt <= 0, gamma <= 0 or epsilon < 0.
    """
    initializers.require_width(hidden)
    if not (dt > 0 and gamma > 0 and epsilon >= 0):
        raise UserError(f"dt={dt}, gamma={gamma}, epsilon={epsilon}; expected dt and gamma above 0, epsilon not below")

    def init(key: Array, input_size: int) -> CoRNNParams:
        key_x, key_h, key_z = jax.random.split(key, 3)
        return CoRNNParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 1, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 1, recurrent_init, recurrent_scale),
            w_z=initializers.recurrent(key_z, hidden, 1, recurrent_init, recurrent_scale),
            b=jnp.zeros(hidden),
        )

    return Cell(init, initial_carry, bind(cornn_step, CoRNNForm(dt, gamma, epsilon, implicit)))


def initial_carry(params: CoRNNParams, batch_shape: tuple[int, ...]) -> CoRNNCarry:
    """y_0 = z_0 = 0, [*batch_shape, H]."""
    zeros = jnp.zeros((*batch_shape, params.b.shape[0]), params.b.dtype)
    return CoRNNCarry(zeros, zeros)

"""The independently recurrent network: each unit sees itself alone of the step before."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.activations import ACTIVATIONS, Activation
from seqjax.cells.binding import bind
from seqjax.types import Array, Cell, UserError


class IndRNNParams(NamedTuple):
    """One block, and a recurrent weight a unit."""

    w_x: Array  # [D, H]
    u: Array  # [H]
    b: Array  # [H]


class IndRNNCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def indrnn_step(
    activation: Activation, params: IndRNNParams, carry: IndRNNCarry, x: Array
) -> tuple[IndRNNCarry, Array]:
    """h_t = φ(x_t W_x + u ⊙ h_{t-1} + b), the output is h_t. (Li et al. 2018, section 3)"""
    h = ACTIVATIONS[activation](x @ params.w_x + params.u * carry.h + params.b)
    return IndRNNCarry(h), h


def indrnn(
    hidden: int = 128,
    activation: Activation = "relu",
    recurrent_min: float = 0.0,
    recurrent_max: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """An independently recurrent cell, h_t = φ(x_t W_x + u ⊙ h_{t-1} + b).

    The paper holds |u| below 2^(1/T) throughout training, so that relu units do not explode over
    T steps; here that is left to what u begins with. For memories of T steps it begins the last
    layer with recurrent_min=ε^(1/T), recurrent_max=2^(1/T).

    Args:
        hidden: number of units H.
        activation: φ.
        recurrent_min, recurrent_max: u [H] begins as U[recurrent_min, recurrent_max].
        input_init, input_scale: how W_x [D, H] begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1 or recurrent_min > recurrent_max.
    """
    initializers.require_width(hidden)
    if recurrent_min > recurrent_max:
        raise UserError(f"recurrent_min={recurrent_min}; expected at most recurrent_max={recurrent_max}")

    def init(key: Array, input_size: int) -> IndRNNParams:
        key_x, key_u = jax.random.split(key)
        return IndRNNParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 1, input_init, input_scale),
            u=jax.random.uniform(key_u, (hidden,), minval=recurrent_min, maxval=recurrent_max),
            b=jnp.zeros(hidden),
        )

    return Cell(init, initial_carry, bind(indrnn_step, activation))


def initial_carry(params: IndRNNParams, batch_shape: tuple[int, ...]) -> IndRNNCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return IndRNNCarry(jnp.zeros((*batch_shape, params.u.shape[0]), params.u.dtype))

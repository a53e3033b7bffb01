"""The plain recurrent network: tanh or relu; with an identity matrix it is the IRNN."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.activations import ACTIVATIONS, Activation
from seqjax.cells.binding import bind
from seqjax.types import Array, Cell


class RNNParams(NamedTuple):
    """One block."""

    w_x: Array  # [D, H]
    w_h: Array  # [H, H]
    b: Array  # [H]


class RNNCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def rnn_step(activation: Activation, params: RNNParams, carry: RNNCarry, x: Array) -> tuple[RNNCarry, Array]:
    """h_t = φ(x_t W_x + h_{t-1} W_h + b), the output is h_t. (Elman 1990)"""
    h = ACTIVATIONS[activation](x @ params.w_x + carry.h @ params.w_h + params.b)
    return RNNCarry(h), h


def rnn(
    hidden: int = 128,
    activation: Activation = "tanh",
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """A plain recurrent cell, h_t = φ(x_t W_x + h_{t-1} W_h + b).

    The IRNN of Le, Jaitly & Hinton (2015) is `rnn(activation='relu', recurrent_init='identity',
    input_init='normal', input_scale=0.001)`.

    Args:
        hidden: number of units H.
        activation: φ.
        recurrent_init, recurrent_scale: how W_h [H, H] begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x [D, H] begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1.
    """
    initializers.require_width(hidden)

    def init(key: Array, input_size: int) -> RNNParams:
        key_x, key_h = jax.random.split(key)
        return RNNParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 1, input_init, input_scale),
            w_h=initializers.recurrent(key_h, hidden, 1, recurrent_init, recurrent_scale),
            b=jnp.zeros(hidden),
        )

    return Cell(init, initial_carry, bind(rnn_step, activation))


def initial_carry(params: RNNParams, batch_shape: tuple[int, ...]) -> RNNCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return RNNCarry(jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype))

"""The plain recurrent cell cut in two for the fused strategy: its affine map, and the activation with its slope."""

from __future__ import annotations

import functools

from seqjax.cells.activations import Activation
from seqjax.cells.rnn import RNNCarry, RNNParams
from seqjax.types import Array
from seqjax.unroll.parts import SLOPES, Parts, Weights, half, squash


def weights(activation: Activation, params: RNNParams) -> Weights:
    """a = x W_x + h W_h + b [H], halved where a sigmoid follows."""
    return Weights(*(leaf * half(activation) for leaf in (params.w_x, params.w_h, params.b)), None)


def advance(activation: Activation, rest: None, carry: RNNCarry, a: Array) -> tuple[RNNCarry, Array]:
    """The elementwise part of a step; the equation is in `rnn_step`."""
    h = squash(activation, a)
    return RNNCarry(h), h


def tangent(
    activation: Activation, rest: None, carry: RNNCarry, h: Array, dot_carry: RNNCarry, dot_a: Array
) -> RNNCarry:
    """The derivative of `advance` in its direction: ḣ_t = φ' ⊙ ȧ."""
    return RNNCarry(SLOPES[activation](h) * dot_a)


@functools.cache
def rnn_parts(activation: Activation) -> Parts:
    """The parts for one activation; one object each, so that equal cells share one compiled program."""
    bound = (functools.partial(part, activation) for part in (weights, advance, tangent))
    return Parts(*bound, lambda *_: None)

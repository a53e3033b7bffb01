"""The sLSTM of the xLSTM: exponential gates, a state that normalizes, a state that keeps them from overflowing."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.binding import bind
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell, UserError

ForgetGate = Literal["sigmoid", "exponential"]


class SLSTMParams(NamedTuple):
    """Four blocks in the order i, f, z, o; N heads, each H/N wide, that see themselves alone."""

    w_x: Array  # [D, 4H]
    w_h: Array  # [N, H/N, 4·H/N]  R in the paper, its blocks on the diagonal one after the other
    b: Array  # [4H]


class SLSTMCarry(NamedTuple):
    """Hidden state, cell state, normalizer and stabilizer; c and n are e^m times smaller than without it."""

    h: Array  # [..., H]
    c: Array  # [..., H]
    n: Array  # [..., H]
    m: Array  # [..., H]


def slstm_step(forget_gate: ForgetGate, params: SLSTMParams, carry: SLSTMCarry, x: Array) -> tuple[SLSTMCarry, Array]:
    """One step; the output is h_t.

        a   = x_t W_x + h_{t-1} R + b        a = (a_i, a_f, a_z, a_o), R block-diagonal
        l_t = log σ(a_f), or a_f where the forget gate is exponential
        m_t = max(l_t + m_{t-1}, a_i)
        i_t = exp(a_i - m_t)
        f_t = exp(l_t + m_{t-1} - m_t)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ tanh(a_z)
        n_t = f_t ⊙ n_{t-1} + i_t
        h_t = σ(a_o) ⊙ c_t / n_t

    (Beck et al. 2024, "xLSTM: extended long short-term memory", section 2.2. Without m the gates are
    exp(a_i) and exp(l_t), and h_t the same. The state begins at zero, m_0 too, so that all is smooth; where
    the first exp(a_i - m_t) underflow, n_t = 0 and h_t is 0 until one does not. A normalizer below zero,
    where only a nudge or what a decoder begins with can bring it, counts as zero. The paper's block has a
    convolution before the cell and a group norm after it; neither is here.)
    """
    h, c, n, m = carry
    heads, width = params.w_h.shape[:2]
    blocks = params.w_h.reshape(heads, width, 4, width)
    seen = jnp.einsum("...nj,njgk->...gnk", h.reshape(*h.shape[:-1], heads, width), blocks)
    i, f, z, o = jnp.split(x @ params.w_x + seen.reshape(*h.shape[:-1], 4 * heads * width) + params.b, 4, -1)
    kept = (f if forget_gate == "exponential" else jax.nn.log_sigmoid(f)) + m
    m = jnp.maximum(kept, i)
    i, f = tap("input_gate", jnp.exp(i - m)), tap("forget_gate", jnp.exp(kept - m))
    c = f * c + i * tap("candidate", jnp.tanh(z))
    n = f * jnp.where(n < 0, 0, n) + i
    h = tap("output_gate", jax.nn.sigmoid(o)) * c / jnp.where(n == 0, 1, n)
    return SLSTMCarry(h, c, n, m), h


def slstm(
    hidden: int = 128,
    heads: int = 1,
    forget_gate: ForgetGate = "sigmoid",
    forget_bias: float = 1.0,
    input_bias: float = 0.0,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """An sLSTM; the equation is in `slstm_step`.

    Args:
        hidden: number of units H.
        heads: N, blocks of R; more of them are cheaper, and units of two heads do not see each other.
        forget_gate: σ(a_f), as in the authors' code, or exp(a_f); the paper allows both. The input
            gate is exponential.
        forget_bias, input_bias: what the gates' biases begin with.
        recurrent_init, recurrent_scale: how each head's R begins; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 1, or heads that do not divide it.
    """
    initializers.require_width(hidden)
    if heads < 1 or hidden % heads:
        raise UserError(f"heads={heads}; expected a divisor of hidden={hidden}")

    def init(key: Array, input_size: int) -> SLSTMParams:
        key_x, key_h = jax.random.split(key)
        zeros, keys = jnp.zeros(hidden), jax.random.split(key_h, heads)
        own = [initializers.recurrent(k, hidden // heads, 4, recurrent_init, recurrent_scale) for k in keys]
        return SLSTMParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 4, input_init, input_scale),
            w_h=jnp.stack(own),
            b=jnp.concatenate([zeros + input_bias, zeros + forget_bias, zeros, zeros]),
        )

    return Cell(init, initial_carry, bind(slstm_step, forget_gate))


def initial_carry(params: SLSTMParams, batch_shape: tuple[int, ...]) -> SLSTMCarry:
    """h_0 = c_0 = n_0 = m_0 = 0, [*batch_shape, H]."""
    zeros = jnp.zeros((*batch_shape, params.b.shape[0] // 4), params.b.dtype)
    return SLSTMCarry(zeros, zeros, zeros, zeros)

"""The cuDNN strategy: NVIDIA's own LSTM through `jax.experimental.rnn`, for the standard LSTM on its GPUs."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTMCarry, LSTMParams
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.scan import scan, zero_unless
from seqjax.unroll.standard import dtypes_of, not_nvidia, not_standard


def cudnn(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
    *,
    precision: Literal["high", "highest"] = "high",
) -> tuple[PyTree, PyTree]:
    """`unroll` by cuDNN, on an NVIDIA GPU, in float32, for an LSTM of the form that it has.

    It gives a gradient, once, in reverse mode: no gradient of every carry, no second order, no
    forward mode, no vmap, which are what 'fused' is for. What is laid out for cuDNN, with its
    gradient, is tested on a CPU against the reference in `jax.experimental.rnn`; cuDNN itself has not
    been run. (Appleyard, Kočiský & Blunsom 2016, "Optimizing performance of recurrent neural networks on GPUs")

    Args:
        cell, params, xs, carry, lengths, reverse: as in `unroll`.
        nudge: None.
        precision: 'high' lets products round their factors to TF32, 10 bits; 'highest' does not.

    Raises:
        UserError: no NVIDIA GPU, another cell or form of it, a nudge, another dtype than float32, vmap.
    """
    why = refusal(cell, params, xs, carry, nudge) or not_nvidia()
    if why is not None:
        raise UserError(f"strategy='cudnn': {why}; strategy='auto' runs here what 'cudnn' does not")
    if xs.shape[0] == 0:
        return scan(cell, params, xs, carry, lengths, reverse, nudge)
    from jax.experimental import rnn  # slow to import, and needed on a GPU alone

    steps, batch_shape, batch = xs.shape[0], xs.shape[1:-1], carry.h.size // carry.h.shape[-1]
    counts = jnp.broadcast_to(steps if lengths is None else lengths, batch_shape).reshape(batch).astype(jnp.int32)
    xs = xs.reshape(steps, batch, xs.shape[-1])
    valid = jnp.arange(steps)[:, None] < counts
    xs = xs if lengths is None else zero_unless(valid, xs)
    xs = turned(xs, counts) if reverse else xs
    sizes = {"input_size": xs.shape[-1], "hidden_size": carry.h.shape[-1], "num_layers": 1}
    options = {"dropout": 0.0, "bidirectional": False, "precision": getattr(jax.lax.Precision, precision.upper())}
    h, c = (leaf.reshape(1, batch, -1) for leaf in carry[:2])
    try:
        ys, h, c = rnn.lstm(xs.swapaxes(0, 1), h, c, packed(params), counts, **sizes, **options)
    except NotImplementedError as error:
        raise UserError("strategy='cudnn': JAX cannot vmap cuDNN; take --mesh=map or strategy='fused'") from error
    ys = ys.swapaxes(0, 1) if lengths is None else zero_unless(valid, ys.swapaxes(0, 1))
    ys = turned(ys, counts) if reverse else ys
    after = LSTMCarry(*(leaf.reshape(carry.h.shape) for leaf in (h, c)))
    return after, ys.reshape(steps, *carry.h.shape)


def refusal(cell: Cell, params: PyTree, xs: Array, carry: PyTree, nudge: PyTree | None) -> str | None:
    """Why cuDNN does not compute what is asked for, or None."""
    why = not_standard(cell)
    if why is None and nudge is not None:
        why = "has no gradient of every carry, so takes no nudge"
    dtypes = dtypes_of(params, xs, carry)
    if why is None and dtypes != ["float32"]:
        why = f"takes float32 alone, not {', '.join(dtypes)}"
    return why


def packed(params: LSTMParams) -> Array:
    """All weights as cuDNN has them, [4H·D + 4H·H + 8H]: W_xᵀ, W_hᵀ, b, and a second b, which is zero.

    The gates are in its order, i, f, g, o, already.
    """
    return jnp.concatenate([params.w_x.T.ravel(), params.w_h.T.ravel(), params.b, jnp.zeros_like(params.b)])


def turned(xs: Array, counts: Array) -> Array:
    """[T, B, ...] with the first `counts` steps of each sequence from last to first, its padding left in place."""
    t = jnp.arange(xs.shape[0])[:, None]
    return jnp.take_along_axis(xs, jnp.where(t < counts, counts - 1 - t, t)[..., None], axis=0)

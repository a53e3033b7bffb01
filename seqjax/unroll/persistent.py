"""Two kernels for the standard LSTM, forwards and backwards, that hold its recurrent weights on the chip.

Each is one launch for all T steps. The batch is dealt out to the multiprocessors in blocks of 16
sequences, the fewest that a tensor core multiplies; each loads W_h once and keeps it, in registers as far
as Triton's compiler sees fit. (Diamos et al. 2016, "Persistent RNNs: stashing recurrent weights on-chip")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array

BLOCK = 16  # sequences in a block, and the fewest units
ON_CHIP = 128 * 1024  # bytes for the weights: half of a multiprocessor's 256 KiB of registers
PRODUCT = (((1,), (0,)), ((), ()))  # a [B, H] times w [H, H]
TRANSPOSED = (((1,), (1,)), ((), ()))  # a [B, H] times wᵀ


class Slopes(NamedTuple):
    """How a step's carry moves with the one before: ȧ = ḣ_{t-1} W_h, and then

    ċ_t = f ⊙ ċ_{t-1} + i ⊙ ȧ_i + r ⊙ ȧ_f + g ⊙ ȧ_g,    ḣ_t = c ⊙ ċ_t + o ⊙ ȧ_o
    """

    f: Array  # [T, B, H] all
    c: Array
    i: Array
    r: Array
    g: Array
    o: Array


def padded_width(hidden: int) -> int:
    """The units that a kernel computes: a power of two, 16 or more."""
    return max(BLOCK, 1 << (hidden - 1).bit_length())


def forward(
    sums: Array, w_h: Array, h: Array, c: Array, valid: Array | None, nudge: Any, dtype: Any, interpret: bool
) -> tuple[Array, Array]:
    """All carries of the standard LSTM; the equation is in `lstm_step`.

    Args:
        sums: x W_x + b [T, B, 4, H].
        w_h: [H, 4, H].
        h, c: the carry at the start [B, H].
        valid: [T, B], 0 where the carry stands still; None for nowhere.
        nudge: (h, c) added to the carry that enters, [T, B, H] each, or None.
        dtype: of the factors of the recurrent products; they are summed in float32 or more.
        interpret: run on the CPU, step by step.

    Returns:
        h and c after each step [T, B, H].
    """
    given = {"sums": ("tbkh", sums), "w_h": ("hkh", w_h.astype(dtype)), "h": ("bh", h), "c": ("bh", c)}
    if valid is not None:
        given["valid"] = "tb", valid.astype(jnp.int32)
    if nudge is not None:
        given |= {"nudge_h": ("tbh", nudge[0]), "nudge_c": ("tbh", nudge[1])}

    def kernel(ref: dict[str, Any], *out: Any) -> None:
        weights = [ref["w_h"][:, block, :] for block in range(4)]

        def step(t: Array, before: tuple[Array, Array]) -> tuple[Array, Array]:
            h, c = before
            if nudge is not None:
                h, c = h + ref["nudge_h"][t], c + ref["nudge_c"][t]
            i, f, g, o = (
                ref["sums"][t, :, block, :] + _dot(h.astype(dtype), weights[block], PRODUCT) for block in range(4)
            )
            i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
            c = f * c + i * jnp.tanh(g)
            after = tuple(leaf.astype(sums.dtype) for leaf in (o * jnp.tanh(c), c))
            if valid is not None:
                there = ref["valid"][t][:, None] != 0
                after = tuple(jnp.where(there, new, old) for new, old in zip(after, before))
            out[0][t], out[1][t] = after
            return after

        jax.lax.fori_loop(0, sums.shape[0], step, (ref["h"][...], ref["c"][...]))

    return _launch(kernel, given, jax.ShapeDtypeStruct((sums.shape[0], *h.shape), h.dtype), interpret)


def backward(slopes: Slopes, w_h: Array, h: Array, c: Array, dtype: Any, interpret: bool) -> tuple[Array, Array]:
    """The adjoints of all carries, λ_t = source_t + J_{t+1}ᵀ λ_{t+1}, with J as in `Slopes`.

    Args:
        slopes: leaves [T, B, H].
        w_h: [H, 4, H].
        h, c: the source [T, B, H]: what each step's carry counts for by itself.
        dtype, interpret: as for `forward`.

    Returns:
        λ of h and of c [T, B, H].
    """
    given = {"source_h": h, "source_c": c} | slopes._asdict()
    given = {"w_h": ("hkh", w_h.astype(dtype))} | {name: ("tbh", leaf) for name, leaf in given.items()}
    last = h.shape[0] - 1

    def kernel(ref: dict[str, Any], *out: Any) -> None:
        weights = [ref["w_h"][:, block, :] for block in range(4)]

        def step(number: Array, later: tuple[Array, Array]) -> tuple[Array, Array]:
            t = last - number
            h, c = (ref[name][t] + leaf for name, leaf in zip(("source_h", "source_c"), later))
            out[0][t], out[1][t] = h.astype(out[0].dtype), c.astype(out[1].dtype)
            c = c + ref["c"][t] * h
            moved = [ref["i"][t] * c, ref["r"][t] * c, ref["g"][t] * c, ref["o"][t] * h]
            products = [_dot(a.astype(dtype), w, TRANSPOSED) for a, w in zip(moved, weights)]
            return sum(products[1:], products[0]), (ref["f"][t] * c).astype(products[0].dtype)

        nothing = jnp.zeros(ref["source_h"].shape[1:], _sum_dtype(w_h.dtype))
        jax.lax.fori_loop(0, last + 1, step, (nothing, nothing))

    return _launch(kernel, given, h, interpret)


def _dot(rows: Array, matrix: Array, dimensions: Any) -> Array:
    return jax.lax.dot_general(rows, matrix, dimensions, preferred_element_type=_sum_dtype(rows.dtype))


def _sum_dtype(dtype: Any) -> Any:
    """That in which products of a dtype are summed."""
    return jnp.promote_types(dtype, jnp.float32)


def _launch(
    kernel: Callable, given: dict[str, tuple[str, Array]], like: Array | jax.ShapeDtypeStruct, interpret: bool
) -> tuple[Array, Array]:
    """A kernel over blocks of the batch; what comes out is twice like `like` [T, B, H].

    Args:
        kernel: takes the arrays of its block by name, and two to fill.
        given: name -> (its axes: t, b of B sequences, h of H units, k), array. Units are padded with zeros,
            which see and give zeros, to a power of two, sequences to whole blocks.
        like: for the shape and dtype of what comes out.
        interpret: without a GPU.
    """
    from jax.experimental import pallas as pl  # slow to import
    from jax.experimental.pallas import triton

    steps, batch, hidden = like.shape
    rows, width = -(-batch // BLOCK) * BLOCK, padded_width(hidden)
    more = {"b": rows - batch, "h": width - hidden}

    def block(axes: str, shape: tuple[int, ...]) -> pl.BlockSpec:
        shape = tuple(BLOCK if axis == "b" else size for axis, size in zip(axes, shape))
        return pl.BlockSpec(shape, lambda number: tuple(number if axis == "b" else 0 for axis in axes))

    padded = {
        name: jnp.pad(leaf, [(0, more.get(axis, 0)) for axis in axes]) if any(more.values()) else leaf
        for name, (axes, leaf) in given.items()
    }
    shape = jax.ShapeDtypeStruct((steps, rows, width), like.dtype)
    out = pl.pallas_call(
        kernel,
        out_shape=(shape, shape),
        grid=(rows // BLOCK,),
        in_specs=({name: block(axes, padded[name].shape) for name, (axes, _) in given.items()},),
        out_specs=(block("tbh", shape.shape),) * 2,
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=1),
    )(padded)
    return tuple(leaf[:, :batch, :hidden] for leaf in out)

"""Truncated backpropagation through time: every value as it is, the gradient cut after a window of steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.cells.carries import require_floats
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.recording import recording
from seqjax.unroll.scan import scan


def truncated(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
    *,
    window: int,
    stride: int | None = None,
) -> tuple[PyTree, PyTree]:
    """`unroll`, whose gradient goes back at most `window` steps: BPTT(window; stride).

    The sequence is cut into blocks of `stride` steps. The outputs of block k, which ends before step
    e = (k+1)·stride, are differentiated through steps max(0, e - window) ... e - 1, and the carry
    entering the first of these is a constant. So an output reaches back over window - stride + 1
    to `window` steps, its own among them, and every output counts once:

        stride = window   blocks apart, the carry handed on and its gradient stopped
        stride = 1        each output through exactly its last `window` steps
        window >= T       the full gradient

    (Williams & Peng 1990; Sutskever 2013, section 2.8.6, with k1 = stride, k2 = window)

    Only where a window begins at step 0 does the gradient reach the initial carry. To carry the
    state from one call to the next, give the carry returned, in `jax.lax.stop_gradient`, as `carry`.
    The cost is that of `unroll` and window / stride times its forward and backward passes, the blocks
    side by side.

    Args:
        cell, params, xs, carry, lengths: as for `unroll`; there is no reverse and no nudge.
        window: most steps that a gradient goes back, at least 1.
        stride: steps in a block, at least 1 and at most window; None for window.

    Returns:
        The carry after the last valid step, and ys [T, ..., H]: the numbers of `unroll`.

    Raises:
        UserError: a window or stride outside of that range, a cell that is read backwards or nudged, or a
            carry that is not of floating point.
    """
    stride = window if stride is None else stride
    if window < 1:
        raise UserError(f"window={window}; expected at least 1 step")
    if not 1 <= stride <= window:
        raise UserError(f"stride={stride}; expected 1 to window={window}, as else some outputs had no gradient")
    if reverse or nudge is not None:
        raise UserError(f"window={window} cuts what goes forwards in time; it takes neither reverse nor nudge")
    require_floats(carry)
    steps = xs.shape[0]
    if window >= steps:
        return scan(cell, params, xs, carry, lengths, reverse, nudge)

    constants = jax.lax.stop_gradient((params, xs, carry))
    after, (entering, ys) = scan(recording(cell), *constants, lengths, reverse, nudge)
    blocks = -(-steps // stride)
    ends = jnp.full(xs.shape[1:-1], steps) if lengths is None else lengths
    padded = jnp.concatenate([xs, jnp.zeros((blocks * stride - steps, *xs.shape[1:]), xs.dtype)])
    starts = jnp.maximum((jnp.arange(blocks) + 1) * stride - window, 0)

    def block(start: Array, end: Array) -> tuple[PyTree, PyTree]:
        """The window of one block: the carry after it, and the outputs of the block's own steps."""
        seen = jax.lax.dynamic_slice_in_dim(padded, start, window)
        begin = jax.tree.map(lambda first, later: jnp.where(start == 0, first, later[start]), carry, entering)
        last, ys = scan(cell, params, seen, begin, ends - start, reverse, nudge)
        return last, jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, end - stride - start, stride), ys)

    lasts, found = jax.vmap(block)(starts, (jnp.arange(blocks) + 1) * stride)
    found = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:steps], found)
    final = (ends - 1) // stride  # the block in which a sequence ends
    last = jax.tree.map(lambda leaf: _pick(leaf, final), lasts)
    return jax.tree.map(_with_derivative_of, (after, ys), (last, found))


def _pick(leaf: Array, block: Array) -> Array:
    """[K, *batch, ...] and the block of each sequence [*batch] -> [*batch, ...]."""
    index = block.reshape(1, *block.shape, *(1,) * (leaf.ndim - 1 - block.ndim))
    return jnp.take_along_axis(leaf, index, 0)[0]


@jax.custom_jvp
def _with_derivative_of(value: Array, other: Array) -> Array:
    return value


@_with_derivative_of.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[0], tangents[1]

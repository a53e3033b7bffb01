"""Truncated backpropagation through time: every value as it is, the gradient cut after a window of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.gradients.states import require_floats
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll import recording, unroll


class TruncationBias(NamedTuple):
    """How far the truncated gradient g is from the exact one g*, for each window.

    relative_error: [W] ‖g - g*‖ / ‖g*‖
    cosine:         [W] g·g* / (‖g‖ ‖g*‖)
    Over all parameters together; NaN (or inf) where a gradient is exactly zero.
    """

    relative_error: Array
    cosine: Array


def truncated_unroll(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree | None = None,
    *,
    window: int,
    stride: int | None = None,
    lengths: Array | None = None,
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
        cell, params, xs, carry, lengths: as for `unroll`.
        window: most steps that a gradient goes back, at least 1.
        stride: steps in a block, at least 1 and at most window; None for window.

    Returns:
        The carry after the last valid step, and ys [T, ..., H]: the numbers of `unroll`.

    Raises:
        UserError: a window or stride outside of that range, or a carry that is not of floating point.
    """
    stride = window if stride is None else stride
    if window < 1:
        raise UserError(f"window={window}; expected at least 1 step")
    if not 1 <= stride <= window:
        raise UserError(f"stride={stride}; expected 1 to window={window}, as else some outputs had no gradient")
    steps = xs.shape[0]
    carry = cell.initial_carry(params, xs.shape[1:-1]) if carry is None else carry
    require_floats(carry)
    if window >= steps:
        return unroll(cell, params, xs, carry, lengths=lengths)

    constants = jax.lax.stop_gradient((params, xs, carry))
    after, (entering, ys) = unroll(recording(cell), *constants, lengths=lengths)
    blocks = -(-steps // stride)
    ends = jnp.full(xs.shape[1:-1], steps) if lengths is None else lengths
    padded = jnp.concatenate([xs, jnp.zeros((blocks * stride - steps, *xs.shape[1:]), xs.dtype)])
    starts = jnp.maximum((jnp.arange(blocks) + 1) * stride - window, 0)

    def block(start: Array, end: Array) -> tuple[PyTree, PyTree]:
        """The window of one block: the carry after it, and the outputs of the block's own steps."""
        seen = jax.lax.dynamic_slice_in_dim(padded, start, window)
        begin = jax.tree.map(lambda first, later: jnp.where(start == 0, first, later[start]), carry, entering)
        last, ys = unroll(cell, params, seen, begin, lengths=ends - start)
        return last, jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, end - stride - start, stride), ys)

    lasts, found = jax.vmap(block)(starts, (jnp.arange(blocks) + 1) * stride)
    found = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:steps], found)
    final = (ends - 1) // stride  # the block in which a sequence ends
    last = jax.tree.map(lambda leaf: _pick(leaf, final), lasts)
    return jax.tree.map(_with_derivative_of, (after, ys), (last, found))


def truncation_bias(
    cell: Cell,
    params: PyTree,
    xs: Array,
    loss: Callable[[PyTree], Array],
    windows: Sequence[int],
    *,
    stride: int | None = None,
    lengths: Array | None = None,
) -> TruncationBias:
    """The bias of truncation as a number: truncated gradients beside the exact one, on the same sequences.

    The exact gradient is that of `unroll`, the same number as `rtrl` gives, for any width.

    Args:
        cell, params, xs, lengths: as for `unroll`.
        loss: ys [T, B, H] -> scalar.
        windows: the windows of `truncated_unroll` to try.
        stride: its stride, None for each window's own length.

    Raises:
        UserError: as `truncated_unroll`.
    """

    def gradient(window: int, stride: int | None) -> PyTree:
        run = lambda p: loss(truncated_unroll(cell, p, xs, window=window, stride=stride, lengths=lengths)[1])  # noqa: E731
        return jax.grad(run)(params)

    exact = gradient(xs.shape[0], None)
    found = [_compare(gradient(window, stride), exact) for window in windows]
    return TruncationBias(*(jnp.stack(numbers) for numbers in zip(*found)))


def _compare(found: PyTree, exact: PyTree) -> tuple[Array, Array]:
    """Relative error and cosine of two trees, in a scale in which neither under- nor overflows."""
    none = jnp.zeros(())
    error = jnp.exp(log_norm(jax.tree.map(jnp.subtract, found, exact), none) - log_norm(exact, none))
    (a, _), (b, _) = ((tree[0], log) for tree, log in (share_scale(Scaled(tree, none)) for tree in (found, exact)))
    dot, a2, b2 = (
        sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two)))
        for one, two in ((a, b), (a, a), (b, b))
    )
    return error, dot / jnp.sqrt(a2 * b2)


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

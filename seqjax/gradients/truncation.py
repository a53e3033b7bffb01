"""What truncated backpropagation through time leaves of the gradient, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.gradients.norms import LN10
from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.gradients.states import ends_of
from seqjax.spec import Spec
from seqjax.types import Array, Batch, Cell, Direction, Model, PyTree, UserError
from seqjax.unroll import unroll
from seqjax.unroll.scan import keep_where


class TruncationBias(NamedTuple):
    """How far the truncated gradient g is from the exact one g*, for each window.

    relative_error: [W] ‖g - g*‖ / ‖g*‖
    cosine:         [W] g·g* / (‖g‖ ‖g*‖)
    Over all parameters together; NaN (or inf) where a gradient is exactly zero.
    """

    relative_error: Array
    cosine: Array


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
        windows: the windows of the strategy 'truncated' to try.
        stride: its stride, None for each window's own length.

    Raises:
        UserError: no window, or one that is no number of steps, and as `truncated`.
    """

    windows = _whole_windows(windows)

    def gradient(strategy: str) -> PyTree:
        return jax.grad(lambda p: loss(unroll(cell, p, xs, lengths=lengths, strategy=strategy)[1]))(params)

    exact = gradient("scan")
    found = [_compare(gradient(str(Spec("truncated", {"window": w, "stride": stride}))), exact) for w in windows]
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


class Truncation(NamedTuple):
    """The gradient of the cells' parameters by truncated backpropagation, against the full one.

    windows:     [K]
    cosine:      [K], 1 where the window is as long as the sequences; NaN where a gradient is 0
    log10_ratio: [K], log10 of ‖truncated‖ / ‖full‖
    """

    windows: Array
    cosine: Array
    log10_ratio: Array


def truncation(
    model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array], windows: Sequence[int]
) -> Truncation:
    """How truncation to a window of k steps turns and shrinks the gradient.

    The sequence is cut in chunks of k steps, and no gradient goes from one chunk to that before it,
    through any carry of any layer; values are unchanged. The chunks are counted back from the last
    step that each sequence reads, so that a loss there sees k steps exactly, and losses at earlier
    steps 1 to k. The gradient is that of the cells' parameters alone: the readout's does not pass
    through time, and would hide the difference. (Williams & Peng 1990; Tallec & Ollivier 2017)

    Args:
        model: the Model.
        params: its parameters.
        batch: the sequences.
        loss: (outputs, batch) -> scalar, as Task.loss.
        windows: each k.

    Raises:
        UserError: no window, or one that is no number of steps.
    """
    windows = _whole_windows(windows)

    def gradient(window: Array) -> list[Array]:
        grads = jax.grad(lambda params: loss(_outputs(model, params, batch, window), batch))(params)
        return jax.tree.leaves([[way.params for way in layer] for layer in model.layers(grads)])

    def unit(leaves: list[Array]) -> tuple[list[Array], Array]:
        size = log_norm(leaves, jnp.zeros(()))
        top = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in leaves]))
        return [leaf / top * jnp.exp(jnp.log(top) - size) for leaf in leaves], size

    full, full_size = unit(gradient(jnp.asarray(jax.tree.leaves(batch.inputs)[0].shape[0])))

    def compare(window: Array) -> tuple[Array, Array]:
        cut, size = unit(gradient(window))
        apart = sum(jnp.sum((a - b) ** 2) for a, b in zip(cut, full))
        return 1 - apart / 2, (size - full_size) / LN10  # a·b of unit vectors, exact where they are one

    ks = jnp.asarray(windows)
    return Truncation(ks, *jax.lax.map(compare, ks))


def _whole_windows(windows: Sequence[int]) -> list[int]:
    found = np.asarray(windows)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or found.min() < 1:
        raise UserError(f"windows={windows!r}; expected numbers of steps, each at least 1, as in [1, 4, 16]")
    return found.tolist()


def _outputs(model: Model, params: PyTree, batch: Batch, window: Array) -> Array:
    """What the model answers, where no gradient goes from a chunk to the one before."""
    xs, lengths = model.encode(params, batch.inputs), batch.lengths
    steps = jnp.arange(xs.shape[0])[:, None]
    counts = ends_of(lengths, *xs.shape[:2])
    for layer in model.layers(params):
        ys = []
        for way in layer:
            read = counts - 1 - steps if way.reverse else steps
            cut = ((counts - read) % window == 0) & (read > 0)
            marked = jnp.concatenate([xs, cut[..., None].astype(xs.dtype)], -1)
            ys.append(unroll(_cuttable(way), way.params, marked, lengths=lengths, reverse=way.reverse)[1])
        xs = jnp.concatenate(ys, -1)
    return model.read(params, xs, lengths, batch.inputs)


def _cuttable(way: Direction) -> Cell:
    """The same cell, whose input has one number more: where it is not 0, no gradient passes to the carry."""

    def step(params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        cut = x[..., -1] != 0
        held = jax.tree.map(lambda leaf: keep_where(cut, jax.lax.stop_gradient(leaf), leaf), carry)
        return way.cell.step(params, held, x[..., :-1])

    return way.cell._replace(step=step)

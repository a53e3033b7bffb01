"""What truncated backpropagation through time leaves out of the gradient, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.spec import Spec
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll import unroll


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
        UserError: no window, and as `truncated`.
    """

    windows = np.asarray(windows).tolist()
    if not windows:
        raise UserError("windows is empty; expected at least one")

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

"""How a cell runs over time: one front door, `unroll`, and the strategies behind it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.fused import fused, parts_of
from seqjax.unroll.recording import recording
from seqjax.unroll.scan import scan

__all__ = ["STRATEGIES", "recording", "unroll", "zero_nudge"]

STRATEGIES = {"scan": scan, "fused": fused}


def unroll(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree | None = None,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
    nudge: PyTree | None = None,
    strategy: str = "auto",
) -> tuple[PyTree, PyTree]:
    """Run a cell over a sequence.

        s_t, y_t = step(params, s_{t-1} + nudge_t, x_t)        for t = 0 ... T-1

    Past a sequence's length the carry stands still and the output is zero; whatever the padding
    holds, it takes part in no value and no gradient. `nudge_t` is added to the carry that *enters*
    step t, so that the gradient of a loss with respect to a zero nudge is dL/ds_{t-1}, in which the
    output y_t of that step counts; at t = 0 it is the gradient with respect to the initial carry.

    Args:
        cell: the Cell.
        params: what `cell.init` gave.
        xs: inputs [T, ..., D]; the axes between are the batch's.
        carry: the carry to start from; the cell's initial carry if None. Its dtypes are kept.
        lengths: steps that exist in each sequence [...], at least 1 and at most T; None for all T.
        reverse: read each sequence from its last valid step to its first. ys stay in their places.
        nudge: a pytree as `zero_nudge` makes it, each leaf [T, ...] and added to the carry.
        strategy: 'auto', or one of STRATEGIES; every one gives the plain scan's numbers. 'auto' is
            'fused' for the cells that it takes (see `fused.parts_of`) and 'scan' for all others.

    Returns:
        The carry after the last valid step, and ys [T, ..., H].

    Raises:
        UserError: an unknown strategy, one that does not take the cell, or lengths that do not
            have the batch's shape.
    """
    if strategy != "auto" and strategy not in STRATEGIES:
        raise UserError(f"strategy={strategy!r}; expected 'auto' or one of {', '.join(map(repr, STRATEGIES))}")
    batch_shape = xs.shape[1:-1]
    if lengths is not None and jnp.shape(lengths) != batch_shape:
        raise UserError(f"lengths of shape {jnp.shape(lengths)} for a batch of shape {batch_shape}")
    if carry is None:
        carry = cell.initial_carry(params, batch_shape)
    if strategy == "auto":
        strategy = "scan" if isinstance(parts_of(cell, params, xs, carry, nudge), str) else "fused"
    return STRATEGIES[strategy](cell, params, xs, carry, lengths, reverse, nudge)


def zero_nudge(cell: Cell, params: PyTree, xs: Array) -> PyTree:
    """Zeros [T, ...] for every component of the carry, to differentiate with respect to."""
    carry = cell.initial_carry(params, xs.shape[1:-1])
    return jax.tree.map(lambda leaf: jnp.zeros((xs.shape[0], *leaf.shape), leaf.dtype), carry)

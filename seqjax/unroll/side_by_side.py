"""The steps of a sequence side by side, in the order in which they are taken, for strategies that take all at once."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, PyTree
from seqjax.unroll.recurrence import one_later
from seqjax.unroll.scan import keep_where, zero_unless


class Steps(NamedTuple):
    """Inputs and nudges, zero in the padding; for reverse=True with the last step first.

    A sequence that begins late, as a padded one read backwards, takes its carry in at its first valid step.
    """

    xs: Array  # [T, ..., D]
    nudge: PyTree | None  # leaves [T, ...]
    valid: Array  # [T, ...] the step exists
    first: Array  # [T, ...] it is the first of its sequence to be taken


def side_by_side(xs: Array, lengths: Array | None, reverse: bool, nudge: PyTree | None) -> Steps:
    """The Steps of what `unroll` was given."""
    count, batch_shape = xs.shape[0], xs.shape[1:-1]
    t = jnp.arange(count).reshape(count, *(1 for _ in batch_shape))
    steps = jnp.broadcast_to(count if lengths is None else lengths, batch_shape)
    valid = t < steps
    xs, nudge = jax.tree.map(lambda leaf: zero_unless(valid, leaf), (xs, nudge))
    taken = Steps(xs, nudge, valid, valid & (t == (steps - 1 if reverse else 0)))
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), taken) if reverse else taken


def entering(steps: Steps, carry: PyTree, leaving: PyTree) -> PyTree:
    """The carries s_{t-1} [T, ...] that enter every step, before their nudges, from those that leave."""
    return jax.tree.map(
        lambda start, leaf: keep_where(steps.first, jnp.broadcast_to(start, leaf.shape), one_later(leaf)),
        carry,
        leaving,
    )


def outcome(
    steps: Steps, carry: PyTree, leaving: PyTree, ys: PyTree, lengths: Array | None, reverse: bool
) -> tuple[PyTree, PyTree]:
    """What `unroll` gives: the carry after the last valid step, in the dtype it had, and ys in their places."""

    def end(start: Array, leaf: Array) -> Array:
        if lengths is None:
            return leaf[-1].astype(start.dtype)
        at = jnp.broadcast_to(leaf.shape[0] if reverse else jnp.maximum(lengths, 1), steps.valid.shape[1:]) - 1
        at = at.reshape(1, *at.shape, *(1 for _ in range(leaf.ndim - steps.valid.ndim)))
        last = jnp.take_along_axis(leaf, at, axis=0)[0]
        return keep_where(lengths > 0, last.astype(start.dtype), start)

    ys = jax.tree.map(lambda leaf: zero_unless(steps.valid, leaf), ys)
    return jax.tree.map(end, carry, leaving), jax.tree.map(lambda leaf: jnp.flip(leaf, 0), ys) if reverse else ys


def largest(values: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """The maximum of values that are not negative, 0 of none; NaN where there is one, which XLA's maximum may drop.

    (on a CPU, in arrays of thousands of numbers: JAX 0.10)
    """
    lost = jnp.any(jnp.isnan(values), axis)
    return jnp.where(lost, jnp.nan, jnp.max(values, axis, initial=0))

"""The plain scan: one step after the other, and the numbers every other strategy must give."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, PyTree


def scan(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
) -> tuple[PyTree, PyTree]:
    """`unroll` by `jax.lax.scan`."""
    steps = jnp.arange(xs.shape[0])
    return jax.lax.scan(scan_body(cell, params, lengths), carry, (steps, xs, nudge), reverse=reverse)


def scan_body(cell: Cell, params: PyTree, lengths: Array | None) -> Callable[..., tuple[PyTree, PyTree]]:
    """What `jax.lax.scan` does at every step: (carry, (t, x_t, nudge_t)) -> (carry, y_t)."""

    def body(before: PyTree, now: tuple[Array, Array, PyTree]) -> tuple[PyTree, PyTree]:
        t, x, push = now
        valid = None if lengths is None else t < lengths
        if valid is not None:
            x, push = jax.tree.map(lambda leaf: zero_unless(valid, leaf), (x, push))
        entering = before if push is None else jax.tree.map(jnp.add, before, push)
        after, y = cell.step(params, entering, x)
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, before)
        if valid is not None:
            after = jax.tree.map(lambda new, old: keep_where(valid, new, old), after, before)
            y = jax.tree.map(lambda leaf: zero_unless(valid, leaf), y)
        return after, y

    return body


def keep_where(valid: Array, new: Array, old: Array) -> Array:
    """new where valid [...], old elsewhere; valid is as the leading axes of both."""
    return jnp.where(valid.reshape(valid.shape + (1,) * (new.ndim - valid.ndim)), new, old)


def zero_unless(valid: Array, leaf: Array) -> Array:
    """leaf where valid, zero elsewhere; valid is as the leading axes of leaf."""
    return keep_where(valid, leaf, jnp.zeros_like(leaf))

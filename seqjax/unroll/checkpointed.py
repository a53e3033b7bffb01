"""Scans within scans that keep few carries and take their steps again on the way back: long sequences that fit."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.scan import scan_body


def checkpointed(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
    *,
    levels: int = 2,
) -> tuple[PyTree, PyTree]:
    """`unroll` that keeps about levels · T^(1/levels) steps for its gradient in the place of T.

    T steps are cut into about T^(1/levels) parts. Only the carry that enters each part is kept; on the
    way back a part is run again, itself cut in the same way with one level less, until at one level
    a scan keeps all of its steps. Each level costs one more forward pass: `levels` of them and the
    backward pass, where the plain scan has one. (Chen et al. 2016, "Training deep nets with
    sublinear memory cost", section 4) Inputs, outputs and the gradients of both remain, [T, ...] each.

    Args:
        cell, params, xs, carry, lengths, reverse, nudge: as in `unroll`.
        levels: depth of the nest; 1 is the plain scan, 2 keeps about 2 · sqrt(T) steps.

    Raises:
        UserError: levels < 1.
    """
    if levels < 1:
        raise UserError(f"levels={levels}; expected at least 1")
    now = (jnp.arange(xs.shape[0]), xs, nudge)
    return nested(scan_body(cell, params, lengths), carry, now, levels, reverse)


def nested(body: Callable, carry: PyTree, now: PyTree, levels: int, reverse: bool) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan(body, carry, now, reverse=reverse)`, cut in parts; what is left over is a part of its own."""
    steps = now[0].shape[0]
    chunk = part_length(steps, levels)
    if levels == 1 or chunk >= steps:
        return jax.lax.scan(body, carry, now, reverse=reverse)
    whole = steps // chunk * chunk
    parts = jax.tree.map(lambda leaf: leaf[:whole].reshape(whole // chunk, chunk, *leaf.shape[1:]), now)
    rest = jax.tree.map(lambda leaf: leaf[whole:], now)

    def run_parts(carry: PyTree) -> tuple[PyTree, PyTree]:
        again = jax.checkpoint(lambda carry, part: nested(body, carry, part, levels - 1, reverse), prevent_cse=False)
        carry, ys = jax.lax.scan(again, carry, parts, reverse=reverse)
        return carry, jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), ys)

    def run_rest(carry: PyTree) -> tuple[PyTree, PyTree]:
        return nested(body, carry, rest, levels - 1, reverse)

    if whole == steps:
        return run_parts(carry)
    if reverse:
        carry, late = run_rest(carry)
        carry, early = run_parts(carry)
    else:
        carry, early = run_parts(carry)
        carry, late = run_rest(carry)
    return carry, jax.tree.map(lambda *both: jnp.concatenate(both), early, late)


def part_length(steps: int, levels: int) -> int:
    """T^(1 - 1/levels), or the divisor of T nearest to it within a factor of two: no step left over, nothing copied."""
    ideal = math.ceil(round(steps ** (1 - 1 / levels), 6))
    near = [length for length in range(-(-ideal // 2), 2 * ideal + 1) if length and steps % length == 0]
    return min(near, key=lambda length: abs(math.log(length / ideal)), default=ideal)

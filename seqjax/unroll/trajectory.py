"""A trajectory as the solution of s_t = f(s_{t-1}): its Jacobians, and how it moves with what f depends on."""

from __future__ import annotations

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.recurrence import linear_recurrence
from seqjax.unroll.scan import zero_unless
from seqjax.unroll.side_by_side import Steps, entering

Kind = Literal["full", "diagonal"]
MAX_STATE = 128  # numbers in a carry, up to which a full Jacobian is kept for every step


def require_narrow(carry: PyTree, xs: Array) -> None:
    """Raises UserError where a carry has more than MAX_STATE numbers."""
    if width(carry, xs) > MAX_STATE:
        raise UserError(
            f"full Jacobians keep the square of a carry's size for every step: {width(carry, xs)} numbers, "
            f"expected at most {MAX_STATE}; 'quasi_deer' keeps the diagonals alone"
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def solution(cell: Cell, params: PyTree, carry: PyTree, steps: Steps, states: PyTree) -> PyTree:
    """The states that solve s_t = f(s_{t-1}), as a function of what f depends on."""
    return states


@solution.defjvp
def _(cell: Cell, primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    """ṡ_t = J_t ṡ_{t-1} + ḟ_t, where ḟ_t is how f(s_{t-1}) moves while s_{t-1} stands still."""
    params, carry, steps, _ = primals
    params_dot, carry_dot, steps_dot, _ = tangents
    states = solution(cell, *primals)

    def leaving(params: PyTree, carry: PyTree, xs: Array, nudge: PyTree) -> PyTree:
        now = steps._replace(xs=xs, nudge=nudge)
        return taken(cell, params, now, entering(now, carry, states))[0]

    at, towards = (params, carry, steps.xs, steps.nudge), (params_dot, carry_dot, steps_dot.xs, steps_dot.nudge)
    source = jax.jvp(leaving, at, towards)[1]
    before = entering(steps, carry, states)
    if width(carry, steps.xs) <= MAX_STATE:
        moved = matrix_recurrence(jacobians(cell, "full", params, steps, before), vectors_of(source, steps))
        return states, carries_of(moved, states, steps)

    def body(dot: PyTree, now: tuple[PyTree, Steps, PyTree]) -> tuple[PyTree, PyTree]:
        before, now, source = now
        _, moved = jax.jvp(lambda s: taken(cell, params, now, s)[0], (before,), (dot,))
        dot = jax.tree.map(lambda new, more: zero_unless(~now.first, new) + more, moved, source)
        return dot, dot

    return states, jax.lax.scan(body, jax.tree.map(jnp.zeros_like, carry_dot), (before, steps, source))[1]


def taken(cell: Cell, params: PyTree, steps: Steps, before: PyTree) -> tuple[PyTree, PyTree]:
    """Every step from the carry given, whatever the one before it left: what leaves, zero in the padding, and y."""
    pushed = before if steps.nudge is None else jax.tree.map(jnp.add, before, steps.nudge)
    after, ys = cell.step(params, pushed, steps.xs)
    return jax.tree.map(lambda new, old: zero_unless(steps.valid, new.astype(old.dtype)), after, before), ys


def jacobians(cell: Cell, kind: Kind, params: PyTree, steps: Steps, before: PyTree) -> Array:
    """∂s_t/∂s_{t-1} [T, ..., n, n], or its diagonal [T, ..., n]; zero where a sequence begins."""
    _, push = jax.linearize(lambda before: taken(cell, params, steps, before)[0], before)
    vectors = vectors_of(before, steps)

    def column(unit: Array) -> Array:
        return vectors_of(push(carries_of(jnp.broadcast_to(unit, vectors.shape), before, steps)), steps)

    units = jnp.eye(vectors.shape[-1], dtype=vectors.dtype)
    if kind == "full":
        slopes = jnp.moveaxis(jax.vmap(column)(units), 0, -1)
    else:
        slopes = jnp.moveaxis(jax.lax.map(lambda unit: column(unit) @ unit, units), 0, -1)
    return zero_unless(~steps.first, slopes)


def matrix_recurrence(slopes: Array, source: Array) -> Array:
    """`linear_recurrence` of matrices [T, ..., n, n] and vectors [T, ..., n]."""
    times = functools.partial(jnp.matmul, precision="highest")
    return linear_recurrence(times, slopes, source[..., None])[..., 0]


def vectors_of(carries: PyTree, steps: Steps) -> Array:
    """The components of a carry as one vector: [T, ..., n]."""
    shape = steps.valid.shape
    return jnp.concatenate([leaf.reshape(*shape, -1) for leaf in jax.tree.leaves(carries)], -1)


def carries_of(vectors: Array, like: PyTree, steps: Steps) -> PyTree:
    """The other way."""
    leaves, tree = jax.tree.flatten(like)
    widths = [math.prod(leaf.shape[steps.valid.ndim :]) for leaf in leaves]
    ends = [sum(widths[: n + 1]) for n in range(len(widths) - 1)]
    parts = jnp.split(vectors, ends, -1)
    return jax.tree.unflatten(tree, [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves)])


def width(carry: PyTree, xs: Array) -> int:
    """n, the numbers in one sequence's carry."""
    return sum(math.prod(leaf.shape[xs.ndim - 2 :]) for leaf in jax.tree.leaves(carry))

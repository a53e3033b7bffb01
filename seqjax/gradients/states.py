"""The carry of one sequence as one vector, so that its step has a Jacobian matrix."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from seqjax.cells.carries import require_floats
from seqjax.cells.clipped import unclipped
from seqjax.types import Array, Cell, PyTree


def ends_of(lengths: Array | None, steps: int, batch: int) -> Array:
    """How many of the T steps each sequence has [B]: all where nothing is said, and never more."""
    return jnp.full(batch, steps) if lengths is None else jnp.minimum(jnp.asarray(lengths), steps)


def flat_step(cell: Cell, params: PyTree) -> Callable[[Array, Array], tuple[Array, Array]]:
    """(s [n], x [D]) -> (s' [n], y [H]): the step of one sequence, its carry raveled into n numbers, without a clip."""
    cell = unclipped(cell)
    _, unravel = ravel_pytree(_one(cell, params))

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        after, y = cell.step(params, unravel(state), x)
        return ravel_pytree(after)[0], y

    return step


def flat_size(cell: Cell, params: PyTree) -> int:
    """n, the numbers in the carry of one sequence: H for an RNN, 2H for an LSTM."""
    return ravel_pytree(_one(cell, params))[0].size


def flat(carries: PyTree, axes: int = 2) -> Array:
    """Carries with leading axes, [T, B, ...] by default, as vectors [T, B, n]; components in order."""
    leaves = jax.tree.leaves(carries)
    return jnp.concatenate([leaf.reshape(*leaf.shape[:axes], -1) for leaf in leaves], -1)


def read_after(leaf: Array, reverse: bool) -> Array:
    """[T, ...] -> at each step the value at the step that is read after it; zero at the last one read."""
    nothing = jnp.zeros_like(leaf[:1])
    return jnp.concatenate([nothing, leaf[:-1]] if reverse else [leaf[1:], nothing])


def _one(cell: Cell, params: PyTree) -> PyTree:
    carry = cell.initial_carry(params, ())
    require_floats(carry)
    return carry

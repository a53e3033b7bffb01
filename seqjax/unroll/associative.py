"""All steps of a cell that is linear in its carry at once, in log₂ T rounds."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.cells.linear import LinearStep
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.recurrence import linear_recurrence
from seqjax.unroll.scan import scan, zero_unless
from seqjax.unroll.side_by_side import outcome, side_by_side


def associative(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
) -> tuple[PyTree, PyTree]:
    """`unroll` by `jax.lax.associative_scan`, for a cell whose step is a `LinearStep`.

        s_t = a_t ⊙ (s_{t-1} + nudge_t) + b_t = a_t ⊙ s_{t-1} + (a_t ⊙ nudge_t + b_t)

    Coefficients and outputs of all steps are computed at once. (Martin & Cundy 2018,
    "Parallelizing linear recurrent neural nets over sequence length", section 2.2)

    Raises:
        UserError: the cell's step is another.
    """
    step = cell.step
    if not isinstance(step, LinearStep):
        raise UserError(
            "'associative' needs a cell that is linear in its carry, each unit by itself, and says so by a "
            "LinearStep: lru, min_gru, min_lstm; for others there are 'scan', 'deer' and 'quasi_deer'"
        )
    if xs.shape[0] == 0:
        return scan(cell, params, xs, carry, lengths, reverse, nudge)
    steps = side_by_side(xs, lengths, reverse, nudge)
    a, b = step.coefficients(params, steps.xs)

    def spread(start: Array, *leaves: Array) -> list[Array]:
        """[T, ...] each, in the dtype that a step would give the carry."""
        shape, dtype = (*steps.valid.shape, *start.shape[steps.valid.ndim - 1 :]), jnp.result_type(start, *leaves)
        return [jnp.broadcast_to(leaf, shape).astype(dtype) for leaf in (start, *leaves)]

    start, a, b = jax.tree.transpose(jax.tree.structure(carry), None, jax.tree.map(spread, carry, a, b))
    push = jax.tree.map(lambda leaf: zero_unless(steps.first, leaf), start)  # the carry is a nudge of the first step
    if nudge is not None:
        push = jax.tree.map(jnp.add, push, steps.nudge)
    b = jax.tree.map(jnp.add, step.times(a, push), b)
    a, b = jax.tree.map(lambda leaf: zero_unless(steps.valid, leaf), (a, b))
    states = linear_recurrence(step.times, a, b)
    return outcome(steps, carry, states, step.read(params, states, steps.xs), lengths, reverse)

"""Any cell that hands its input on beside its output: direct connections from the input to what reads it."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from seqjax.cells.binding import bind
from seqjax.cells.wrapping import inner_cell
from seqjax.types import Array, Cell, PyTree


def skip(cell: str = "lstm", hidden: int | None = None) -> Cell:
    """A cell with the output (y_t, x_t) [..., H + D] in the place of y_t.

    A linear readout then sees the input too, as the output units of Hochreiter & Schmidhuber (1997),
    experiment 2, do.

    Args:
        cell: spec of the cell inside.
        hidden: number of units of the cell inside; None where its spec says, or for its default.

    Raises:
        UserError: a width given both here and in the spec.
    """
    inside = inner_cell(cell, hidden)
    return inside._replace(step=bind(skip_step, inside.step))


def skip_step(
    step: Callable[..., tuple[PyTree, Array]], params: PyTree, carry: PyTree, x: Array
) -> tuple[PyTree, Array]:
    """The step of the cell inside; its output and the input side by side."""
    carry, y = step(params, carry, x)
    return carry, jnp.concatenate([y, x.astype(y.dtype)], -1)

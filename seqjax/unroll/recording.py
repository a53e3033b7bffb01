"""A cell that also tells the carry it was given, so that a probe can see every state."""

from __future__ import annotations

from seqjax.types import Array, Cell, PyTree


def recording(cell: Cell) -> Cell:
    """The same cell whose output is (entering carry, y), so that unroll stacks both over time.

    As all outputs, the recorded carries are zero past a sequence's length.
    """

    def step(params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, tuple[PyTree, Array]]:
        after, y = cell.step(params, carry, x)
        return after, (carry, y)

    return cell._replace(step=step)

"""How a cell says what of its step depends on the parameters alone, so that it is done once and not at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from seqjax.types import Array, Cell, PyTree


@dataclasses.dataclass(frozen=True)
class PreparedStep:
    """A cell's `step` in two parts. Called, it is a step as any other, which prepares each time.

    prepare: params -> what `advance` and the cell's `initial_carry` take in their place
    advance: (prepared, carry, x) -> (carry, y)
    """

    prepare: Callable[[PyTree], PyTree]
    advance: Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]

    def __call__(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """One step."""
        return self.advance(self.prepare(params), carry, x)


def prepared(cell: Cell, params: PyTree) -> tuple[Cell, PyTree]:
    """What to run in the place of (cell, params) over many steps: `unroll(*prepared(cell, params), xs)`.

    The values are the same, and the gradient with respect to params goes once through `prepare`.
    Where the step has nothing to prepare, it is the cell and the parameters as they are.
    """
    if not isinstance(cell.step, PreparedStep):
        return cell, params
    return cell._replace(step=cell.step.advance), cell.step.prepare(params)

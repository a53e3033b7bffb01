"""The cell inside a cell that changes another one, by its spec."""

from __future__ import annotations

from seqjax import cells, spec
from seqjax.types import Cell, UserError


def inner_cell(cell: str, hidden: int | None) -> Cell:
    """The cell that a spec names, with a width if one is given. Raises UserError where both give one."""
    inner = spec.parse(cell)
    if hidden is not None:
        if "hidden" in inner.arguments:
            raise UserError(f"hidden={hidden}, but cell={cell!r} has a width of its own; give one of them")
        inner = inner._replace(arguments={**inner.arguments, "hidden": hidden})
    return spec.build(inner, [cells], Cell)

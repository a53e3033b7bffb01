"""Which columns of a cell's weights are whose: those of gates, side by side."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from seqjax.cells.gru import gru_step
from seqjax.cells.lstm import GATES, LSTMForm
from seqjax.types import Cell


def gate_blocks(cell: Cell) -> tuple[str, ...]:
    """The equal blocks of columns of an LSTM or GRU, in order, by the names of their taps; () of any other cell."""
    form = lstm_form(cell)
    if form is not None and form.block_size == 1 and form.gates:
        return tuple(GATES.get(block, "candidate") for block in form.blocks)
    is_gru = any(part is gru_step for part in _inside(cell.step))
    return ("reset_gate", "update_gate", "candidate") if is_gru else ()


def lstm_form(cell: Cell) -> LSTMForm | None:
    """The form of an LSTM, or of one inside other cells (`skip`, `scaled`, `clipped`); None of any other cell."""
    return next((part for part in _inside(cell.step) if isinstance(part, LSTMForm)), None)


def _inside(step: object) -> Iterator[object]:
    """A step and what is bound to it first: the step that it changes, and so on, or its form."""
    yield step
    if isinstance(step, functools.partial) and step.args:
        yield from _inside(step.args[0])

"""How a sample of a task is printed, so that a person can read it: symbols, numbers or shades, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from seqjax.types import Batch, Task

WIDTH = 110  # characters in a line
MOST_STEPS = 400  # of a longer sequence, the beginning and the end are shown
SHADES = " .:-=+*#%@"
MOST_COLUMNS = 4  # inputs of more dimensions are drawn as shades

Show = Callable[[Batch, int], str]


def show(task: Task, batch: Batch, number: int) -> str:
    """Sequence `number` of a batch as lines of text: by the task's own `show`, or as its shapes suggest.

    Tokens are printed as numbers, vectors of up to four dimensions one row a dimension, wider ones
    as a line of shades a step; below them what is asked for, with a dot where the loss does not count.
    """
    if task.show is not None:
        return task.show(batch, number)
    if task.tokens:
        return spelled(str)(batch, number)
    steps = length(batch, number)
    inputs, asked = np.asarray(batch.inputs)[:steps, number], targets(batch, number)
    if inputs.shape[1] > MOST_COLUMNS:
        return "\n".join([*shades(inputs), *_asked(asked, _number)])
    columns = {f"input {n + 1}": [_number(x) for x in inputs[:, n]] for n in range(inputs.shape[1])}
    return _with_targets(columns, asked, _number)


Names = Sequence[str] | Callable[[int], str]


def spelled(inputs: Names, answers: Names | None = None) -> Show:
    """A `show` for tokens: what each input is called, and each answer (as the inputs where not given).

    Names are a sequence, or a function where there can be many.
    """

    def called(names: Names, token: object) -> str:
        return names(int(token)) if callable(names) else names[int(token)]

    def shown(batch: Batch, number: int) -> str:
        steps = length(batch, number)
        columns = {"input": [called(inputs, token) for token in np.asarray(batch.inputs)[:steps, number]]}
        return _with_targets(columns, targets(batch, number), lambda answer: called(answers or inputs, answer))

    return shown


def numbered(count: int, first: str = "_", last: str = "?") -> Callable[[int], str]:
    """Names of tokens 0 ... count + 1: `first`, the numbers from 1 to count, `last`."""
    return lambda token: first if token == 0 else last if token == count + 1 else str(token)


def length(batch: Batch, number: int) -> int:
    """How many steps a sequence of the batch has."""
    return len(jax.tree.leaves(batch.inputs)[0]) if batch.lengths is None else int(batch.lengths[number])


def targets(batch: Batch, number: int) -> list[np.ndarray | None] | np.ndarray:
    """A target for each step, None where it does not count; or the one target at the end."""
    found, mask = np.asarray(batch.targets), np.asarray(batch.mask)
    if mask.ndim == 1:
        return found[number]
    steps = length(batch, number)
    return [value if counts else None for value, counts in zip(found[:steps, number], mask[:steps, number])]


def table(columns: Mapping[str, Sequence[str]]) -> str:
    """Rows of cells under each other, a column a time step, broken into lines; the middle of a long one left out."""
    count = max(len(cells) for cells in columns.values())
    half = MOST_STEPS // 2
    parts = [range(count)] if count <= MOST_STEPS else [range(half), range(count - half, count)]
    label = max(len(name) for name in columns) + 2
    wide = 1 + max(len(cell) for cells in columns.values() for cell in cells)
    a_line = max(1, (WIDTH - label) // wide)
    blocks = []
    for part in parts:
        if part.start:
            blocks.append(f"(here {count - MOST_STEPS} steps are left out)")
        for start in range(0, len(part), a_line):
            rows = [[cells[n].rjust(wide) for n in part[start : start + a_line]] for cells in columns.values()]
            blocks.append("\n".join(f"{name:<{label}}{''.join(row)}" for name, row in zip(columns, rows)))
    return ("\n" if len(columns) == 1 else "\n\n").join(blocks)


def shades(values: np.ndarray) -> list[str]:
    """Numbers from 0 to 1 [T, D] as a line of D characters for each of T steps, darker for larger."""
    steps = (np.clip(values, 0, 1) * (len(SHADES) - 1)).round().astype(int)
    lines = ["".join(SHADES[value] for value in row).rstrip() for row in steps]
    if len(lines) > MOST_STEPS:
        left_out = f"(here {len(lines) - MOST_STEPS} steps are left out)"
        lines = [*lines[: MOST_STEPS // 2], left_out, *lines[-MOST_STEPS // 2 :]]
    return lines


def _with_targets(columns: dict[str, list[str]], asked: object, name: Callable[[np.ndarray], str]) -> str:
    if isinstance(asked, list):
        columns = columns | {"target": ["." if value is None else name(value) for value in asked]}
        return table(columns)
    return "\n".join([table(columns), *_asked(asked, name)])


def _asked(asked: object, name: Callable[[np.ndarray], str]) -> list[str]:
    return [] if isinstance(asked, list) else [f"target at the end: {name(asked)}"]


def _number(value: np.ndarray) -> str:
    value = np.asarray(value)
    if np.issubdtype(value.dtype, np.integer):
        return str(value)
    return " ".join("0" if x == 0 else f"{x:.2f}" for x in np.atleast_1d(value))

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
    as a line of shades a step; below them what is asked for, with a dot where the loss does not count. An answer
    to the whole sequence, a label or a string, is spelled as the task spells it.
    """
    if task.show is not None:
        return task.show(batch, number)
    if task.tokens:
        return spelled(str)(batch, number)
    steps, inputs = length(batch, number), np.asarray(batch.inputs)[:, number]
    whole = batch.mask.ndim == 1 or len(batch.mask) != len(inputs)
    if task.spell is not None and whole:
        asked, name = " ".join(task.spell(batch, batch.targets, number)), str
    else:
        asked, name = targets(batch, number, ends(steps)), _number
    if inputs.shape[1] > MOST_COLUMNS:
        return "\n".join([*shades(inputs[:steps]), *_asked(asked, name)])
    columns = {f"input {n + 1}": [_number(x) for x in column[ends(steps)]] for n, column in enumerate(inputs.T)}
    return _with_targets(columns, asked, name, steps)


Names = Sequence[str] | Callable[[int], str]


def spelled(inputs: Names, answers: Names | None = None) -> Show:
    """A `show` for tokens: what each input is called, and each answer (as the inputs where not given).

    Names are a sequence, or a function where there can be many.
    """

    def called(names: Names, token: object) -> str:
        return names(int(token)) if callable(names) else names[int(token)]

    def shown(batch: Batch, number: int) -> str:
        steps = length(batch, number)
        columns = {"input": [called(inputs, token) for token in np.asarray(batch.inputs)[ends(steps), number]]}
        asked = targets(batch, number, ends(steps))
        return _with_targets(columns, asked, lambda answer: called(answers or inputs, answer), steps)

    return shown


def numbered(count: int) -> Callable[[int], str]:
    """Names of tokens 0 ... count + 1: '_', the numbers from 1 to count, '?'."""
    return lambda token: "_" if token == 0 else "?" if token == count + 1 else str(token)


def length(batch: Batch, number: int) -> int:
    """How many steps a sequence of the batch has."""
    return len(jax.tree.leaves(batch.inputs)[0]) if batch.lengths is None else int(batch.lengths[number])


def ends(steps: int) -> np.ndarray:
    """Which of a sequence's steps are shown: all, or of many the first and the last."""
    half = MOST_STEPS // 2
    return np.arange(steps) if steps <= MOST_STEPS else np.r_[:half, steps - half : steps]


def targets(batch: Batch, number: int, places: np.ndarray | None = None) -> list[np.ndarray | None] | np.ndarray:
    """A target for each step, or those at `places`, None where it does not count; or the one target at the end."""
    found, mask = np.asarray(batch.targets), np.asarray(batch.mask)
    if mask.ndim == 1:
        return found[number]
    places = slice(length(batch, number)) if places is None else places
    return [value if counts else None for value, counts in zip(found[places, number], mask[places, number])]


def table(columns: Mapping[str, Sequence[str]], steps: int | None = None) -> str:
    """Rows of cells under each other, a column a time step, broken into lines; the middle of a long one left out.

    With `steps`, how many there are, the cells may be those of their `ends` alone.
    """
    count = max(len(cells) for cells in columns.values())
    left_out, half = max((steps or count) - MOST_STEPS, 0), MOST_STEPS // 2
    parts = [range(half), range(count - half, count)] if left_out else [range(count)]
    label = max(len(name) for name in columns) + 2
    wide = 1 + max(len(cell) for cells in columns.values() for cell in cells)
    a_line = max(1, (WIDTH - label) // wide)
    blocks = []
    for part in parts:
        if part.start:
            blocks.append(f"(here {left_out} steps are left out)")
        for start in range(0, len(part), a_line):
            rows = [[cells[n].rjust(wide) for n in part[start : start + a_line]] for cells in columns.values()]
            blocks.append("\n".join(f"{name:<{label}}{''.join(row)}" for name, row in zip(columns, rows)))
    return ("\n" if len(columns) == 1 else "\n\n").join(blocks)


def shades(values: np.ndarray) -> list[str]:
    """Numbers from 0 to 1 [T, D] as a line of D characters for each of T steps, darker for larger."""
    steps = (np.clip(values[ends(len(values))], 0, 1) * (len(SHADES) - 1)).round().astype(int)
    lines = ["".join(SHADES[value] for value in row).rstrip() for row in steps]
    if len(values) > MOST_STEPS:
        lines.insert(MOST_STEPS // 2, f"(here {len(values) - MOST_STEPS} steps are left out)")
    return lines


def _with_targets(columns: dict[str, list[str]], asked: object, name: Callable[[np.ndarray], str], steps: int) -> str:
    if isinstance(asked, list):
        columns = columns | {"target": ["." if value is None else name(value) for value in asked]}
        return table(columns, steps)
    return "\n".join([table(columns, steps), *_asked(asked, name)])


def _asked(asked: object, name: Callable[[np.ndarray], str]) -> list[str]:
    return [] if isinstance(asked, list) else [f"target at the end: {name(asked)}"]


def _number(value: np.ndarray) -> str:
    value = np.asarray(value)
    if np.issubdtype(value.dtype, np.integer):
        return str(value)
    return " ".join("0" if x == 0 else f"{x:.2f}" for x in np.atleast_1d(value))

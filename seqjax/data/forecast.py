"""Time series: from what was measured so far to what comes next, many variables at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.loading import load
from seqjax.data.stored import stored_task
from seqjax.data.text import place
from seqjax.data.vectors import is_single, moments
from seqjax.tasks.scoring import masked_mean
from seqjax.tasks.showing import table
from seqjax.types import Array, Batch, Examples, Pair, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

SEASON = 24  # steps
SHOWN = 8  # rows, those around the present


class Starts(NamedTuple):
    """Where windows begin in the table of all rows."""

    row: Array  # [N] int32


def forecast(
    data: str,
    columns: str | None = None,
    window: int = 96,
    horizon: int = 24,
    train_rows: int = 8640,
    validation_rows: int = 2880,
    test_rows: int = 2880,
    relative: bool = True,
    written: Literal["at once", "row by row"] = "at once",
    tested_on: Literal["test", "validation"] = "test",
) -> Task:
    """Read `window` rows of a table and say the next `horizon` rows.

    Written 'at once', after the last row that is read, this is many-to-one, O = horizon x columns. 'row by row' it is
    for an encoder and a decoder, with attention or without: O = columns, and each row is written from the row before
    as it was written.

    The rows are in the order of time; those to train on come first, then those of validation and of the test, as
    many as the arguments say; the defaults are the usual 12, 4 and 4 months of the ETT data by the hour. A window to
    test on may begin in the rows before, but what it is to say lies in the test. Every column is standardized by
    the mean and deviation of the rows to train on, and stays so: the loss is the mean squared error a number, the
    score the mean absolute error, as Zhou et al. 2021 (Informer) report them over all windows.

    With `relative`, inputs and answers are differences to the window's last row, which is added again
    before the loss: a level that has moved since training does no harm. (as NLinear, Zeng et al. 2023)

    Baseline: the mean of the rows to train on, which is 0. `peers`: the last row again and, of a window of 24 rows or
    more, the rows one season of 24 steps before, on the rows to test on.

    Args:
        data: a local file or folder (csv, parquet, json), or a name on the Hugging Face hub, of one split.
        columns: names with commas between them; None for all that hold numbers throughout.
        window: rows that are read, T.
        horizon: rows that are said.
        train_rows: how many, at the beginning.
        validation_rows: how many after those.
        test_rows: how many after those.
        relative: whether differences to the last row are read and said.
        written: at once, or row by row.
        tested_on: the part that evaluation reads.

    Raises:
        UserError: data that cannot be loaded; no such column, or none of numbers; a column that is asked for twice,
            and, with columns=None, one without a name, or numbers for all their names, as where the first line is a
            row already; with the row's number, a value that is missing, not finite, or a text among numbers; fewer
            rows than asked for; a window or a horizon below 1 or too long.
    """
    least = {"window": (window, 1), "horizon": (horizon, 1), "train_rows": (train_rows, 1)}
    least |= {"validation_rows": (validation_rows, 0), "test_rows": (test_rows, 0)}
    for name, (value, bound) in least.items():
        if value < bound:
            raise UserError(f"{name}={value}; expected at least {bound}")
    named = [name.strip() for name in columns.split(",")] if columns else []
    if len(set(named)) < len(named):
        raise UserError(f"columns={columns!r}; expected each but once")
    rows = _rows(data, named)
    names = named or _numeric(rows, data)
    values = _values(rows, names, data)
    parts = {"train": (0, train_rows)}
    parts["validation"] = (train_rows, train_rows + validation_rows)
    parts["test"] = (parts["validation"][1], parts["validation"][1] + test_rows)
    if len(values) < parts[tested_on][1]:
        asked = f"train_rows={train_rows}, validation_rows={validation_rows}, test_rows={test_rows}"
        raise UserError(f"data={data!r} has {len(values)} rows, fewer than {asked}")
    mean, deviation = moments(values[:train_rows])
    scale = np.where(deviation > 0, deviation, 1)
    values = ((values - mean) / scale).astype(np.float32)
    train, test = (_starts(*parts[name], window, horizon, name) for name in ("train", tested_on))
    every, width, stepwise = jnp.asarray(values), values.shape[1], written == "row by row"

    def batch(starts: Starts) -> Batch:
        picked = every[starts.row + jnp.arange(window + horizon)[:, None]]
        return said_of(picked[:window], picked[window:])

    def said_of(inputs: Array, asked: Array) -> Batch:
        """Of rows [window, B, D] those [horizon, B, D]."""
        if relative:
            inputs, asked = inputs - inputs[-1], asked - inputs[-1]
        if stepwise:
            said = jnp.broadcast_to(inputs[-1], asked.shape)
            return Batch(Pair(inputs, said), asked, jnp.ones(asked.shape[:2]))
        return Batch(inputs, jnp.swapaxes(asked, 0, 1).reshape(asked.shape[1], -1), jnp.ones(asked.shape[1]))

    def read_file(path: str) -> tuple[Batch, Callable[[Array, int], list[str]]]:
        """Its last `window` rows."""
        found = _values(_rows(path, names), names, path)
        if len(found) < window:
            raise UserError(f"data={path!r} has {len(found)} rows; expected at least window={window}")
        last = ((found[-window:] - mean) / scale)[:, None]
        level = last[-1] if relative else 0

        def spell(answers: Array, number: int) -> list[str]:
            said = (np.asarray(answers).reshape(horizon, width) + level) * scale + mean
            steps = {"step": [f"+{n + 1}" for n in range(horizon)]}
            return [table(steps | {name: [f"{x:.4g}" for x in column] for name, column in zip(names, said.T)})]

        return said_of(jnp.asarray(last, jnp.float32), jnp.zeros((horizon, 1, width))), spell

    return stored_task(
        Examples(train, test, batch),
        lambda outputs, batch: masked_mean(jnp.mean((outputs - batch.targets) ** 2, -1), batch.mask),
        lambda outputs, batch: masked_mean(jnp.mean(jnp.abs(outputs - batch.targets), -1), batch.mask),
        coding=(tuple(names), tuple(mean), tuple(deviation)),
        input_size=width,
        output_size=width if stepwise else horizon * width,
        baseline=float(np.mean(np.square(_asked(values, test, window, horizon)))),
        readout="decode" if stepwise else "last",
        show=lambda batch, number: _show(batch, number, names),
        answer=lambda outputs, batch: outputs,
        read=read_file,
        peers=_peers(values, test, window, horizon),
    )


def _show(batch: Batch, number: int, names: list[str]) -> str:
    """The columns' names and a line of numbers a row: what is read, and what is to be said."""
    source = batch.inputs.source if isinstance(batch.inputs, Pair) else batch.inputs
    read, asked = np.asarray(source)[:, number], np.moveaxis(np.asarray(batch.targets), batch.mask.ndim - 1, 0)[number]
    lines = {"read": read, "asked for": asked.reshape(-1, read.shape[1])}
    rows = [
        f"{name:<10}" + " ".join(f"{x:6.2f}" for x in row)
        for name, rows in lines.items()
        for row in (rows if len(rows) <= SHOWN else rows[-SHOWN:] if name == "read" else rows[:SHOWN])
    ]
    return "\n".join([f"columns   {', '.join(names)}", *rows])


def _starts(first: int, end: int, window: int, horizon: int, part: str) -> Starts:
    """Windows whose answers lie in rows first ... end - 1."""
    starts = np.arange(max(first - window, 0), end - window - horizon + 1, dtype=np.int32)
    if not len(starts):
        raise UserError(f"window={window}, horizon={horizon}: longer than the {end - first} rows of the {part} part")
    return Starts(jnp.asarray(starts))


def _asked(values: np.ndarray, starts: Starts, window: int, horizon: int) -> np.ndarray:
    """[N, horizon, D] what is to be said."""
    return values[np.asarray(starts.row)[:, None] + window + np.arange(horizon)]


def _peers(values: np.ndarray, starts: Starts, window: int, horizon: int) -> Mapping[str, float]:
    asked, row = _asked(values, starts, window, horizon), np.asarray(starts.row)[:, None] + window
    season = -SEASON + np.arange(horizon) % SEASON
    found = {"last value": values[row - 1]}
    if window >= SEASON:
        found["one season before"] = values[row + season]
    return {name: float(np.mean((asked - said) ** 2)) for name, said in found.items()}


def _rows(data: str, names: list[str]) -> Dataset:
    """The rows, which have such columns."""
    splits = load(data, columns=names)
    if len(splits) > 1:
        raise UserError(f"data={data!r} has splits {', '.join(splits)}; expected one series, whose parts are its rows")
    return splits["train"]


def _numeric(rows: Dataset, data: str) -> list[str]:
    """The columns of numbers. Raises UserError where there are none, or what is none looks like a mistake."""
    kinds = {name: str(getattr(kind, "dtype", "")) for name, kind in rows.features.items()}
    numbers = [name for name, kind in kinds.items() if kind.startswith(("float", "int", "uint"))]
    if numbers and all(_is_number(_as_written(name, numbers)) for name in numbers):
        expected = f"expected a first line of names, or columns={','.join(numbers)!r} if these are"
        raise UserError(f"data={data!r}: its columns have numbers for names; {expected}")
    if nameless := [name for name in rows.column_names if not name or name.startswith("Unnamed: ")]:
        others = ",".join(name for name in rows.column_names if name not in nameless)
        raise UserError(f"data={data!r}: a column has no name, as one that counts the rows; name those that are meant, "
                        f"of columns={others!r}")  # fmt: skip
    for name in rows.column_names:
        _require_one_kind(rows, name, data)
    if not numbers:
        raise UserError(f"data={data!r} has no column of numbers; columns: {', '.join(rows.column_names)}")
    return numbers


def _require_one_kind(rows: Dataset, name: str, data: str) -> None:
    """Raise UserError where a column of texts is of numbers, but for a few rows: it would be left out."""
    column = rows[:][name]
    wrong = [row for row, value in enumerate(column) if not isinstance(value, str) or not _is_number(value)]
    if len(wrong) > len(column) / 2 or not any(isinstance(value, str) for value in column):
        return
    if not wrong:
        held = f"holds numbers as texts, {column[0]!r}"
        raise UserError(f"{place(rows, name, data)} {held}; expected numbers as 1.5, or columns=... without it")
    at, held = place(rows, name, data, wrong[0]), f"{column[wrong[0]]!r} among numbers ({len(wrong)} such rows)"
    raise UserError(f"{at} holds {held}; expected numbers throughout, or columns=... without it")


def _as_written(name: str, names: list[str]) -> str:
    """A column's name without the number that pandas puts behind one that is there already: '0.5' of '0.5.1'."""
    first, _, count = name.rpartition(".")
    return first if count.isdecimal() and first in names else name


def _is_number(text: str) -> bool:
    """Also with a comma where a point is meant."""
    try:
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def _values(rows: Dataset, names: list[str], data: str) -> np.ndarray:
    """[rows, columns] float64."""
    columns = []
    for name in names:
        try:
            column = np.asarray(rows[:][name], np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(f"{place(rows, name, data)} holds values that are no numbers") from error
        if column.ndim != 1:
            raise UserError(f"{place(rows, name, data)} holds lists; expected one number a row")
        if len(wrong := np.flatnonzero(~is_single(column))):
            at = place(rows, name, data, int(wrong[0]))
            raise UserError(f"{at} holds {column[wrong[0]]}; expected a finite number ({len(wrong)} such rows)")
        columns.append(column)
    return np.stack(columns, 1)

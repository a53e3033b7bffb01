"""From what a person types as `data` to its splits, and from a column of a split to a NumPy array."""

from __future__ import annotations

import glob
import json
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqjax.data.files import BUILDERS, ending_of, quiet, read, tidied
from seqjax.spec import did_you_mean
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset

LOST = "Length of header or names does not match"  # a warning of pandas: fields would be lost
ACCEPTED = (
    "expected a data set's name on the Hugging Face hub, a local folder whose files' names give the splits "
    f"(train.parquet, test.parquet), or a local file ({', '.join(BUILDERS)})"
)


def load(data: str, **columns: str | Sequence[str]) -> dict[str, Dataset]:
    """The splits that `data` names, 'train' among them; a single file is all 'train'.

    What begins with '/', '.' or '~', exists, ends like a data file, or cannot be a name on the hub
    is local. `datasets` keeps its cache (HF_HOME), and reads a local file again once the time of
    its last change differs. With HF_HUB_OFFLINE=1 the hub is not asked and its cache serves.

    Args:
        data: what was typed.
        **columns: the columns that are to be read, one or several under the name of the argument that gives them.

    Raises:
        UserError: no such file, folder or name; the hub out of reach; an empty folder; a file that is cut off,
            corrupt or of another kind; rows of more fields than the header names, or with no commas between
            them; a damaged row of one of the columns; a path with '*', '?' or '['; no training split, an empty
            split, no such column.
    """
    splits = _splits(data)
    if "train" not in splits:
        raise UserError(f"data={data!r} has no training split; expected 'train' among its splits: {', '.join(splits)}")
    _require_columns(splits, columns, data)
    return splits


def load_alone(data: str, **columns: str | Sequence[str]) -> Dataset:
    """The rows of what has but one split, of any name. Raises UserError as `load`, and where there are several."""
    splits = _splits(data)
    if len(splits) > 1:
        raise UserError(f"data={data!r} has splits {', '.join(splits)}; expected one: a file, or a folder of one")
    _require_columns(splits, columns, data)
    return next(iter(splits.values()))


def _splits(data: str) -> dict[str, Dataset]:
    path = os.path.expanduser(data)
    ending = ending_of(path)
    hub_name = re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", data) and ending not in BUILDERS
    local = bool(data) and os.path.exists(path)
    if not local and not hub_name:
        raise UserError(f"data={data!r}: no such file or folder; {ACCEPTED}")
    if local and not os.path.isdir(path) and ending not in BUILDERS:
        raise UserError(f"data={data!r}: a file of a kind that is not read; {ACCEPTED}")
    absolute = os.path.abspath(path)
    if local and glob.escape(absolute) != absolute:  # `datasets` would take it as a pattern, and may find other files
        raise UserError(f"data={data!r}: a path with a '*', '?' or '['; expected one without")
    import datasets

    with quiet(bars=not local), warnings.catch_warnings():
        warnings.filterwarnings("error", LOST)
        try:
            splits = read(absolute) if local else datasets.load_dataset(data)
        except Exception as error:  # readers of a dozen formats, and the network: any kind may come
            ask = " (is it empty, damaged, of unlike columns?)" if local else ""
            raise UserError(f"data={data!r} cannot be loaded{ask}: {_reason(error)}; {ACCEPTED}") from error
    return tidied(splits, data) if local else dict(splits)


def _require_columns(splits: dict[str, Dataset], columns: dict[str, str | Sequence[str]], data: str) -> None:
    asked = [(name, each) for name, some in columns.items() for each in ([some] if isinstance(some, str) else some)]
    for name, rows in splits.items():
        for argument, column in asked:
            if column not in rows.column_names:
                hint, known = did_you_mean(column, rows.column_names), ", ".join(rows.column_names)
                raise UserError(f"{argument}={column!r}: data={data!r} has no such column{hint}columns: {known}")
        if not len(rows):
            raise UserError(f"data={data!r}: its split {name!r} is empty; expected at least one row")
        for _, column in asked:
            _check(rows, column, data)


def mapped(
    rows: Dataset, function: Callable[[dict[str, list]], dict[str, list]], name: str, dtype: str, size: int
) -> list[np.ndarray]:
    """What a function of `size` rows at a time makes of a split: one column of numbers, as arrays that lie on disk.

    `datasets` keeps them in its cache and maps them into memory; they are made once for the same rows and function.
    """
    import datasets

    with quiet(bars=False):
        made = rows.map(
            function,
            batched=True,
            batch_size=size,
            remove_columns=rows.column_names,
            features=datasets.Features({name: datasets.Value(dtype)}),
        )
    return [chunk.to_numpy() for chunk in made.data.column(name).chunks]


def test_split(splits: dict[str, Dataset], name: str, data: str) -> Dataset:
    """The split that evaluation is to read. Raises UserError where there is none of that name."""
    if name not in splits:
        raise UserError(no_such_split(splits, name, data))
    return splits[name]


def no_such_split(splits: dict[str, Dataset], name: str, data: str) -> str:
    """What is told of a split to test on that there is not, with what would do."""
    others = [other for other in ("test", "validation") if other in splits]
    expected = f"; tested_on={others[0]!r} takes that" if others else "; expected files whose names give both"
    return f"data={data!r} has no split {name!r} to test on; splits: {', '.join(splits)}{expected}"


def array(rows: Dataset, name: str, data: str) -> np.ndarray:
    """A column of numbers or of nested lists of them, one axis a level: [rows, ...], in the stored dtype.

    Lists are read from Arrow's flat buffer, not one by one; a text, as a CSV file has, is read as JSON.

    Raises:
        UserError: lists of differing lengths, missing values, or anything but numbers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    where = f"data={data!r}: column {name!r} of split {str(rows.split)!r}"
    values = rows.select_columns([name]).with_format("arrow")[:][name].combine_chunks()
    values = values.storage if isinstance(values, pa.ExtensionArray) else values
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        try:
            values = pa.array([json.loads(text) for text in values.to_pylist()])
        except (ValueError, TypeError, RecursionError, pa.ArrowException) as error:
            raise UserError(f"{where} holds text; expected numbers, or lists of them of one size") from error
    shape = [len(values)]
    while is_list(values.type):
        lengths = pc.list_value_length(values).unique().to_pylist()
        if len(lengths) > 1 or None in lengths:
            found = ", ".join("missing" if n is None else str(n) for n in lengths[:5])
            raise UserError(f"{where} has differing sizes on axis {len(shape)}: {found}; expected one size")
        shape += lengths
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise UserError(f"{where} holds {values.type}; expected numbers, or lists of them of one size")
    if values.null_count:
        raise UserError(f"{where} has {values.null_count} missing values; expected numbers throughout")
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def held_out(count: int, share: float, data: str) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (train, test), both ascending, where data has no test split of its own.

    The round(share·count) test rows, at least one, are the first of numpy.random.default_rng(0).permutation(count).

    Raises:
        UserError: a share outside (0, 1), or too few rows to leave one on either side.
    """
    if not 0 < share < 1:
        raise UserError(f"test_share={share}; expected more than 0 and less than 1")
    tests = max(1, round(share * count))
    if tests >= count:
        raise UserError(
            f"data={data!r}: test_share={share} of {count} rows leaves none to train on; expected more rows"
        )
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[tests:]), np.sort(order[:tests])


def is_list(kind: object) -> bool:
    """Whether a type of Arrow's is of lists, of whatever kind."""
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _check(rows: Dataset, name: str, data: str) -> None:
    """Raise UserError where a file's bytes are not what it says: no UTF-8, or lists that reach past the end.

    It names the row, but not within lists.
    """
    import pyarrow as pa

    first = 0
    for chunk in rows.data.column(name).chunks:
        try:
            chunk.validate(full=True)
        except pa.ArrowInvalid as error:
            wrong = (row for row in range(len(chunk)) if not _is_whole(chunk[row : row + 1]))
            row = "" if is_list(chunk.type) else f"row {first + next(wrong, 0)} of "
            at = f"data={data!r}: {row}column {name!r} of split {str(rows.split)!r}"
            raise UserError(f"{at} is damaged: {_reason(error)}") from error
        first += len(chunk)


def _is_whole(values: object) -> bool:
    import pyarrow as pa

    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _reason(error: BaseException) -> str:
    """The innermost cause, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    if LOST in str(error):
        return "rows have more fields than the first line has names (a text with commas needs quotes, a number a point)"
    return textwrap.shorten(str(error) or type(error).__name__, 240).rstrip(".")

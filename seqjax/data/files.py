"""Files of rows on this machine: which kinds are read, and what `datasets` is told to read them by."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from seqjax.data import conll
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset

BUILDERS = {
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
    ".txt": "text",
    ".conll": "conll",
    ".conllu": "conll",
}
# empty cells and NaN are missing, "NA", "null" and "None" are texts; no column is an index
CSV = {"keep_default_na": False, "na_values": ["", "nan", "NaN"], "index_col": False}
NAMES = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"),
         "test": ("test", "testing", "eval", "evaluation")}  # fmt: skip
SPLITS = {name: split for split, names in NAMES.items() for name in names}  # of folders and files, as in `datasets`
COMPRESSIONS = (".gz", ".zst", ".xz", ".bz2")
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def ending_of(path: str) -> str:
    """The ending of a file's name, in front of that of a compression."""
    stem, ending = os.path.splitext(path)
    return os.path.splitext(stem)[1] if ending in COMPRESSIONS else ending


def read(path: str) -> dict[str, Dataset]:
    """The splits of a file of one of the kinds, or of a folder, by an absolute path.

    Errors are those of `datasets`, and ValueError as `_require_fields`.
    """
    import datasets

    ending = ending_of(path)
    if ending in BUILDERS and not os.path.isdir(path):
        options = _options(BUILDERS[ending], path)
        splits = datasets.load_dataset(BUILDERS[ending], data_files=path, **options)
    else:
        builder = datasets.load_dataset_builder(path)  # that of most of its files
        first = next(iter(builder.config.data_files.values()))[0]
        options = _options(builder.name, first)
        splits = datasets.load_dataset(path, **options)
    if options.get("sep") == "\t":
        _require_fields(splits)
    return splits


def _require_fields(splits: dict[str, Dataset]) -> None:
    """Raise ValueError where a quotation mark that nothing closes drew later rows of a .tsv file into its field."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for rows in splits.values():
        for name, column in zip(rows.column_names, rows.data.columns):
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                row = pc.index(pc.match_substring_regex(column, "[\t\r\n]"), True).as_py()
                if row >= 0:
                    field = f"row {row}, column {name!r}: a field with tabs or line breaks"
                    raise ValueError(f"{field}, as of a quotation mark at its beginning that is not closed")


def _options(kind: str, path: str) -> dict[str, Any]:
    """Those of the builder of a kind, for files like the one at this path."""
    if kind == "conll":
        return conll.columns(path)
    tabs = {"sep": "\t"} if ending_of(path) == ".tsv" else {}
    return tabs | CSV if kind == "csv" else {}


def tidied(splits: dict[str, Dataset], data: str) -> dict[str, Dataset]:
    """What was read, without lines of a CoNLL file that are no tokens.

    Raises UserError where all fields of a row were read as one, since something else parts them, or where a line of a
    CoNLL file has more or fewer than others.
    """
    for rows in splits.values():
        for mark, called in OTHER_SEPARATORS.items():
            if len(rows.column_names) == 1 and mark in rows.column_names[0]:
                expected = "expected commas, or tabs in a file that ends with .tsv"
                raise UserError(f"data={data!r}: {called} between the names {rows.column_names[0]!r}; {expected}")
    with quiet(bars=False):
        return {
            name: conll.sentences(rows, data) if conll.BEYOND in rows.column_names else rows
            for name, rows in splits.items()
        }


@contextlib.contextmanager
def quiet(bars: bool) -> Iterator[None]:
    """No log lines of the libraries (the error says it), and progress bars only for a download."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    hide = not bars and not datasets.are_progress_bars_disabled()
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        if hide:
            datasets.disable_progress_bars()
        yield
    finally:
        if hide:
            datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)

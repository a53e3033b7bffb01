"""Files of rows on this machine: which kinds are read, and what `datasets` is told to read them by."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

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
}
OPTIONS = {  # empty cells and NaN are missing, "NA", "null" and "None" are texts; no column is an index
    "csv": {"keep_default_na": False, "na_values": ["", "nan", "NaN"], "index_col": False}
}
COMPRESSIONS = (".gz", ".zst", ".xz", ".bz2")
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def ending_of(path: str) -> str:
    """The ending of a file's name, in front of that of a compression."""
    stem, ending = os.path.splitext(path)
    return os.path.splitext(stem)[1] if ending in COMPRESSIONS else ending


def read(path: str) -> dict[str, Dataset]:
    """The splits of a file of one of the kinds, or of a folder, by an absolute path; errors are those of `datasets`."""
    import datasets

    ending = ending_of(path)
    if ending in BUILDERS and not os.path.isdir(path):
        tabs = {"sep": "\t"} if ending == ".tsv" else {}
        return datasets.load_dataset(BUILDERS[ending], data_files=path, **tabs, **OPTIONS.get(BUILDERS[ending], {}))
    kind = datasets.load_dataset_builder(path).name  # that of most of its files
    return datasets.load_dataset(path, **OPTIONS.get(kind, {}))


def require_commas(splits: dict[str, Dataset], data: str) -> None:
    """Raise UserError where all fields of a row were read as one, since something else parts them."""
    for rows in splits.values():
        for mark, called in OTHER_SEPARATORS.items():
            if len(rows.column_names) == 1 and mark in rows.column_names[0]:
                expected = "expected commas, or tabs in a file that ends with .tsv"
                raise UserError(f"data={data!r}: {called} between the names {rows.column_names[0]!r}; {expected}")


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

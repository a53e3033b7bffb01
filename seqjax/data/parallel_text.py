"""Texts in two languages as files of lines, one a language: train.en and train.de, line by line the same."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from seqjax.data.files import COMPRESSIONS, SPLITS
from seqjax.data.loading import load, load_alone
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset


def load_pairs(data: str, source: str, target: str) -> dict[str, Dataset]:
    """As `load`, of columns of these names; of a folder of pairs of files that end with them, its splits.

    A pair's names say its split, as in train.en, valid.tok.en and test_2016.en; a single pair is all 'train'.

    Raises:
        UserError: as `load`; two pairs for a split, or none to train on; files of a pair that are not of as many lines.
    """
    pairs = _pairs(data, source, target)
    if not pairs:
        return load(data, source=source, target=target)
    splits: dict[str, tuple[Path, Path]] = {}
    for one, other in pairs:
        words = re.split(r"[^a-z]+", one.name.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), "train" if len(pairs) == 1 else None)
        if split is None:
            raise UserError(
                f"data={data!r}: {one.name} does not say its split; expected train, validation or test in it"
            )
        if split in splits:
            raise UserError(
                f"data={data!r}: {splits[split][0].name} and {one.name} are both {split}; expected one pair"
            )
        splits[split] = one, other
    if "train" not in splits:
        raise UserError(f"data={data!r} has pairs of files for {', '.join(splits)} alone; expected one to train on")
    return {split: _rows({source: one, target: other}, split, data) for split, (one, other) in splits.items()}


def load_source(data: str, source: str) -> Dataset:
    """As `load_alone`, of a column of that name; of a file that ends with it, its lines."""
    path = Path(os.path.expanduser(data))
    if os.path.isfile(path) and _stem(path, source) is not None:
        return _rows({source: path}, "all", data)
    return load_alone(data, source=source)


def _pairs(data: str, source: str, target: str) -> list[tuple[Path, Path]]:
    """The files of a folder that end with either name and are called the same before it.

    Raises UserError where files end with one of the names, and there is no pair.
    """
    folder = os.path.expanduser(data)
    files = sorted(path for path in Path(folder).glob("*") if path.is_file()) if os.path.isdir(folder) else []
    sources, targets = ({_stem(path, name): path for path in files} for name in (source, target))
    pairs = [(sources[stem], targets[stem]) for stem in sources if stem is not None and stem in targets]
    alone = [path.name for some in (sources, targets) for stem, path in some.items() if stem is not None]
    if alone and not pairs:
        raise UserError(
            f"data={data!r}: {alone[0]} is one of a pair; expected files that end with .{source} "
            f"and .{target}, called the same before that"
        )
    return pairs


def _stem(path: Path, language: str) -> str | None:
    """What stands before '.en', or '.en.gz', in a file's name; None of a name that does not end so."""
    name = path.name.removesuffix(path.suffix) if path.suffix in COMPRESSIONS else path.name
    return name.removesuffix(f".{language}") if name.endswith(f".{language}") else None


def _rows(columns: dict[str, Path], split: str, data: str) -> Dataset:
    import datasets

    read = {column: _lines(path, data) for column, path in columns.items()}
    if len({len(lines) for lines in read.values()}) > 1:
        found = " and ".join(f"{columns[column].name} has {len(lines)}" for column, lines in read.items())
        raise UserError(f"data={data!r}: {found} lines; expected as many, each the other's translation")
    if not all(read.values()):
        raise UserError(f"data={data!r}: the files of split {split!r} are empty; expected at least one line")
    return datasets.Dataset.from_dict(read, split=datasets.NamedSplit(split))


def _lines(path: Path, data: str) -> list[str]:
    """A file's lines, which nothing but a line feed ends: U+2028 and others may stand within a sentence.

    A byte order mark is no part of the first.
    """
    import fsspec

    try:
        with fsspec.open(str(path), "rt", encoding="utf-8-sig", newline="\n", compression="infer") as file:
            return [line.rstrip("\r\n") for line in file]
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"data={data!r}: {path.name} cannot be read as UTF-8: {error}") from error

"""CoNLL files: a line a token, its fields in columns; an empty line ends a sentence."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset

UNIVERSAL = ("id", "tokens", "lemmas", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
BEYOND = "beyond the last field"  # a column that holds what a line has too much, which `datasets` would drop
DOCUMENT = "-DOCSTART-"
ENCODING = "utf-8-sig"  # with or without a byte order mark


def columns(path: str) -> dict[str, Any]:
    """By what `datasets` is to read such a file.

    A .conllu file has the ten columns of Universal Dependencies, FORM called `tokens`. Any other has as many as its
    first token has fields, between tabs if there is one: `tokens` first, `tags` last, `field2`, `field3`, ... between;
    one field is `tokens` alone. A byte order mark is no part of the first token.
    """
    import fsspec

    if ".conllu" in os.path.basename(path):
        names, how = UNIVERSAL, {"delimiter": "\t", "comment_prefix": "#"}
    else:
        with fsspec.open(path, "rt", encoding=ENCODING, compression="infer") as lines:
            first = next((line for line in lines if line.strip() and not line.startswith(DOCUMENT)), "")
        how = {"delimiter": "\t" if "\t" in first else None}
        count = len(first.rstrip("\r\n").split(how["delimiter"]))
        names = ["tokens", *(f"field{n}" for n in range(2, count)), "tags"][: max(count, 1)]
    return {"column_names": [*names, BEYOND], "encoding": ENCODING} | how


def sentences(rows: Dataset, data: str) -> Dataset:
    """A split without the lines that are no token of their own: ranges ('1-2') and empty nodes ('8.1') of CoNLL-U.

    Raises UserError where a line has more or fewer fields than others; rows count from 0.
    """

    split = str(rows.split)
    at = lambda number: f"data={data!r}: row {number} of split {split!r}"  # noqa: E731

    def kept(some: dict[str, list], numbers: list[int]) -> dict[str, list]:
        beyond, names = some.pop(BEYOND), list(some)
        made: dict[str, list] = {name: [] for name in names}
        for number, extra, *fields in zip(numbers, beyond, *some.values()):
            lines = list(zip(*fields))
            for line, more in zip(lines, extra):
                if more or "" in line:
                    found = "more" if more else "fewer"
                    raise UserError(
                        f"{at(number)}: the line of {line[names.index('tokens')]!r} has {found} than {len(names)} "
                        "fields; expected as many as others, none of them empty"
                    )
            tokens = [line for line in lines if "id" not in names or line[0].isdecimal()]
            for field, name in enumerate(names):
                made[name].append([line[field] for line in tokens])
        return made

    return rows.map(kept, batched=True, with_indices=True, remove_columns=rows.column_names)

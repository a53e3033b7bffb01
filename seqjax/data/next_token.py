"""Language models: from a text's tokens so far to the next one, whatever a token is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.loading import load, mapped, test_split
from seqjax.data.stored import stored_task
from seqjax.data.streamed import Streamed, is_streamed
from seqjax.data.text import UNKNOWN, place
from seqjax.data.windows import Windows, window_reader
from seqjax.tasks.scoring import cross_entropy
from seqjax.tasks.showing import length, targets
from seqjax.types import Array, Batch, Continuation, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

LINES = 1000  # that are looked at together
MARK = "\ufeff"  # of UTF-8 files of some editors; part of the text, as papers count its symbols


class Tokens(NamedTuple):
    """What a token is.

    split: lines of a text, without their ends -> tokens
    join:  tokens -> the text
    """

    split: Callable[[list[str]], list[str]]
    join: Callable[[list[str]], str]


def language_model(
    kind: Tokens,
    data: str,
    window: int,
    column: str,
    tested_on: str,
    test_share: float,
    min_count: int,
    most: int | None,
    carried: bool,
    stream: bool | None,
) -> Task:
    """The Task of `char_lm` and `word_lm`, which say what the arguments are and what is raised."""
    for name, value in (("window", window), ("min_count", min_count), ("most", 1 if most is None else most)):
        if value < 1:
            raise UserError(f"{name}={value}; expected at least 1")
    splits = load(data, column=column)
    both = _train_and_test(splits, tested_on, test_share, data)
    counts = Counter()
    for lines in both[0].iter(LINES):
        counts.update(kind.split(_lines(lines[column], both[0], column, data)))
    names = _names(counts, min_count, most)
    if len(names) < 2:
        expected = f"expected two or more (is min_count={min_count} too high?)"
        raise UserError(f"data={data!r}: {names[0]!r} is the only token told apart in the training text; {expected}")
    number = {name: n for n, name in enumerate(names)}
    unknown = number.get(UNKNOWN)
    share = np.bincount([number.get(name, unknown) for name in counts], list(counts.values()), len(names))
    share = share[share > 0] / counts.total()
    train, test = (
        _windows(_numbered(rows, column, kind, number, data), window, is_streamed(rows, stream)) for rows in both
    )

    def batch(windows: Windows) -> Batch:
        tokens = windows.tokens.T
        mask = jnp.arange(len(tokens) - 1)[:, None] < windows.steps
        return Batch(tokens[:-1], tokens[1:], mask.astype(jnp.float32), windows.steps)

    def show(batch: Batch, number: int) -> str:
        read = [names[int(token)] for token in np.asarray(batch.inputs)[: length(batch, number), number]]
        asked = [names[int(token)] for token in targets(batch, number)]
        return f"input    {kind.join(read)!r}\ntarget   {kind.join(asked)!r}"

    def prompt(text: str | None) -> Array:
        text = "\n" if text is None else text
        tokens = kind.split(text.split("\n"))[:-1]  # without the end of the last line, which was not typed
        if not tokens:
            raise UserError("expected at least one token")
        wrong = [token for token in tokens if token not in number and unknown is None]
        if wrong:
            raise UserError(f"{wrong[0]!r} does not occur in the text that was trained on, which has no {UNKNOWN}")
        return jnp.asarray([[number.get(token, unknown)] for token in tokens], jnp.int32)

    def draw(key: Array, outputs: Array, before: Array, narrow: Callable[[Array], Array]) -> Array:
        if unknown is not None:  # it is read, but not written
            outputs = outputs.at[..., unknown].set(-jnp.inf)
        return jax.random.categorical(key, narrow(outputs)).astype(jnp.int32)

    return stored_task(
        Examples(train, test, batch, streams=carried),
        cross_entropy,
        bits,
        input_size=len(names),
        output_size=len(names),
        baseline=float(-np.sum(share * np.log(share))),
        tokens=True,
        coding=tuple(names),
        show=show,
        continuation=Continuation(prompt, draw, lambda tokens: kind.join([names[int(n)] for n in tokens])),
    )


def bits(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of -log2 of the chance given to the target."""
    return cross_entropy(outputs, batch) / math.log(2)


def _train_and_test(splits: dict[str, Dataset], tested_on: str, share: float, data: str) -> tuple[Dataset, Dataset]:
    """The rows of both; of a single split the last are tested on, as a text is read in order."""
    if len(splits) > 1:
        return splits["train"], test_split(splits, tested_on, data)
    if not 0 < share < 1:
        raise UserError(f"test_share={share}; expected more than 0 and less than 1")
    rows = splits["train"]
    kept = len(rows) - max(1, round(share * len(rows)))
    if kept < 1:
        raise UserError(f"data={data!r}: a single row, which cannot be trained and tested on; expected more lines")
    return rows.select(range(kept)), rows.select(range(kept, len(rows)))


def _lines(lines: list[str], rows: Dataset, column: str, data: str) -> list[str]:
    if not all(isinstance(line, str) for line in lines):
        row, value = next((row, value) for row, value in enumerate(rows[:][column]) if not isinstance(value, str))
        held = "nothing" if value is None else f"a {type(value).__name__}"
        raise UserError(f"{place(rows, column, data, row)} holds {held}; expected a line of text, '' for a blank one")
    return lines


def _names(counts: Counter, min_count: int, most: int | None) -> list[str]:
    """The tokens that are told apart, in the order of their names; <unk> where some are not."""
    kept = [name for name in sorted(counts, key=lambda name: (-counts[name], name)) if counts[name] >= min_count]
    if len(kept[:most]) < len(counts):
        kept = [UNKNOWN, *(name for name in kept if name != UNKNOWN)]
    return sorted(kept[:most])


def _numbered(rows: Dataset, column: str, kind: Tokens, number: dict[str, int], data: str) -> list[np.ndarray]:
    """A split's tokens as numbers, piece by piece: arrays that lie on disk, in the cache of `datasets`."""
    unknown = number.get(UNKNOWN)

    def numbers(lines: dict[str, list[str]]) -> dict[str, list[int]]:
        found = []
        for token in kind.split(_lines(lines[column], rows, column, data)):
            if token not in number and unknown is None:
                expected = "min_count=2 makes rare ones that"
                if token.startswith(MARK):
                    expected = f"{MARK!r} is a byte order mark at a file's beginning: expected a file without"
                raise UserError(
                    f"data={data!r}: {token!r} is not in the training text, which has no {UNKNOWN} either; {expected}"
                )
            found.append(number.get(token, unknown))
        return {"token": found}

    pieces = mapped(rows, numbers, "token", "int32", LINES)
    if sum(map(len, pieces)) < 2:
        raise UserError(f"{place(rows, column, data)} has {sum(map(len, pieces))} tokens; expected at least 2")
    return pieces


def _windows(pieces: list[np.ndarray], window: int, on_disk: bool) -> Windows | Streamed:
    count, read = window_reader(pieces, window)
    return Streamed(count, read) if on_disk else jax.tree.map(jnp.asarray, read(np.arange(count)))

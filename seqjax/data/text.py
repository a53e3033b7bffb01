"""From columns of text to arrays of numbers: tokens, vocabularies, and the lengths that batches are cut to."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from seqjax.data.loading import held_out, no_such_split
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset

UNKNOWN = "<unk>"
MOST_CUTS = 10
PADDING = 0.12

TooLong = Literal["refuse", "cut"]


def place(rows: Dataset, column: str, data: str, row: int | None = None) -> str:
    """How an error says where something stands; rows count from 0."""
    where = f"column {column!r} of split {str(rows.split)!r}"
    return f"data={data!r}: {where}" if row is None else f"data={data!r}: row {row} of {where}"


def texts(rows: Dataset, column: str, data: str) -> list[str]:
    """A column of texts. Raises UserError where a row holds none, or nothing but spaces."""
    found = rows[:][column]
    for row, text in enumerate(found):
        if not isinstance(text, str) or not text.strip():
            held = repr(text) if text is None or isinstance(text, str) else f"a {type(text).__name__}"
            raise UserError(f"{place(rows, column, data, row)} holds {held}; expected a text that is not empty")
    return found


def token_lists(rows: Dataset, column: str, data: str) -> list[list[str]]:
    """A column of lists of tokens; of a text, what stands between its spaces; where all texts are JSON lists, those.

    Whole numbers are spelled by the names that the column declares, if it does.

    Raises:
        UserError: a row that is missing, empty, or holds anything but texts or whole numbers.
    """
    feature = getattr(rows.features[column], "feature", None)
    values = rows[:][column]
    lists = [_json_list(value) for value in values if isinstance(value, str)]
    words_of = str.split if None in lists else _json_list
    found = []
    for row, value in enumerate(values):
        if isinstance(value, str):
            value = words_of(value)
        fits = isinstance(value, list) and all(isinstance(each, (str, int)) for each in value)
        if not fits or not value or "" in value:
            held = "nothing" if value in (None, []) else "an empty token" if fits else f"a {type(value).__name__}"
            held = "a list of other things" if isinstance(value, list) and not fits else held
            raise UserError(f"{place(rows, column, data, row)} holds {held}; expected a list of tokens, or a text")
        at = place(rows, column, data, row)
        found.append([each if isinstance(each, str) else declared(feature, each, at) for each in value])
    return found


def declared(feature: Any, number: int, at: str) -> str:
    """The name that a column declares for a whole number, or the number. Raises UserError where it has none for it."""
    try:
        return getattr(feature, "int2str", str)(number)
    except ValueError as error:
        raise UserError(
            f"{at} holds {number}, for which its column declares no name, as where labels are withheld; "
            "expected labelled rows"
        ) from error


def train_and_test(
    splits: dict[str, Dataset], read: Callable[[Dataset], list[Any]], tested_on: str, share: float, data: str
) -> tuple[list[Any], list[Any]]:
    """What `read` makes of the rows to train and to test on; where there is one split, some rows are held out.

    Raises:
        UserError: several splits, but none of the name to test on.
    """
    train = read(splits["train"])
    if tested_on in splits:
        return train, read(splits[tested_on])
    if len(splits) > 1:
        raise UserError(no_such_split(splits, tested_on, data))
    kept, tested = held_out(len(train), share, data)
    return [train[row] for row in kept], [train[row] for row in tested]


def vocabulary(tokens: Iterable[str], min_count: int = 1, first: Sequence[str] = (UNKNOWN,)) -> list[str]:
    """`first`, then every token that occurs so often, those that occur most in front."""
    if min_count < 1:
        raise UserError(f"min_count={min_count}; expected at least 1")
    counts = Counter(tokens)
    kept = sorted((t for t, n in counts.items() if n >= min_count and t not in first), key=lambda t: (-counts[t], t))
    return [*first, *kept]


def bounded(
    sequences: list[list[str]], longest: int | None, too_long: TooLong, rows: Dataset, column: str, data: str
) -> list[list[str]]:
    """The sequences, none longer than `longest`: refused, or cut there, of which a warning tells how many."""
    if longest is None:
        return sequences
    if longest < 1:
        raise UserError(f"longest={longest}; expected at least 1")
    beyond = [row for row, sequence in enumerate(sequences) if len(sequence) > longest]
    if beyond and too_long == "refuse":
        at = place(rows, column, data, beyond[0])
        raise UserError(f"{at} has {len(sequences[beyond[0]])} tokens; longest={longest} (or too_long='cut')")
    if beyond:
        at = place(rows, column, data)
        cut = f"{len(beyond)} of {len(sequences)} rows cut to {longest} tokens, and graded as they are cut"
        warnings.warn(f"{at}: {cut}", stacklevel=2)
    return [sequence[:longest] for sequence in sequences]


def filled(sequences: Sequence[Sequence[int]], steps: int | None = None) -> np.ndarray:
    """Numbers [N, T] int32 with zeros past each sequence's end; T is that of the longest, if not given."""
    table = np.zeros((len(sequences), steps or max(map(len, sequences))), np.int32)
    for row, sequence in zip(table, sequences):
        row[: len(sequence)] = sequence
    return table


def cuts(steps: Sequence[int], most: int = MOST_CUTS, padding: float = PADDING) -> tuple[int, ...]:
    """The lengths at which to cut batches of like length: as few as leave at most such a share of padding.

    Minimizes Σ_n (the smallest of them that holds example n), by dynamic programming over the lengths that
    occur; the last is the greatest length, and there are at most `most`, as a program is compiled for each.
    """
    lengths, counts = np.unique(np.asarray(steps), return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])
    needed = np.sum(lengths * counts)
    best = lengths * before[1:]  # the cost of the lengths up to each, with one cut at it
    choices = []
    while len(choices) < min(most, len(lengths)) - 1 and needed < (1 - padding) * best[-1]:
        # cost[i, j]: the last cut at j, the one before at i < j
        cost = best[:, None] + lengths * (before[1:] - before[1:, None])
        cost = np.where(np.tri(len(lengths), dtype=bool), np.iinfo(np.int64).max, cost)
        choices.append(cost.argmin(0))
        best = np.minimum(best, cost.min(0))
    found, at = [int(lengths[-1])], len(lengths) - 1
    for choice in reversed(choices):
        at = int(choice[at])
        found.append(int(lengths[at]))
        if at == 0:
            break
    return tuple(sorted(set(found)))


def _json_list(text: str) -> list[Any] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None

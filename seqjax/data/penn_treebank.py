"""The Penn Treebank as a language model reads it: the next word, or the next character."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.loading import load, mapped, test_split
from seqjax.data.streamed import Streamed, count_of, is_streamed, pick
from seqjax.tasks.scoring import cross_entropy, masked_mean
from seqjax.tasks.showing import length, targets
from seqjax.types import Array, Batch, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

END, UNKNOWN = "<eos>", "<unk>"
LINES = 1000  # that are looked at together


class Windows(NamedTuple):
    """A text cut into windows; the last token of one is the first of the next."""

    tokens: Array  # [N, T + 1] int32
    steps: Array  # [N] int32: how many predictions a window holds, T but in the last


def penn_treebank(
    data: str,
    level: Literal["word", "char"] = "word",
    window: int = 35,
    column: str = "text",
    tested_on: Literal["test", "validation"] = "test",
    stream: bool | None = None,
) -> Task:
    """Predict each token of a text from those before it in its window.

    Levels:
        'word': what spaces separate, and <eos> at the end of every line. Words that the training text
            does not have are read as <unk>. (Mikolov et al. 2010; Zaremba, Sutskever & Vinyals 2014)
        'char': every character of the file, the line end among them. (as Bai, Kolter & Koltun 2018 read
            the same files; Mikolov's own ptb.char.*.txt, with spaces between the characters, differ)

    The text may not be passed on, so there is none here: give the folder of your own ptb.train.txt,
    ptb.valid.txt and ptb.test.txt, or a name on the hub.

    The loss is in nats a token: perplexity is its exponential. The score is the loss in bits a token
    (for characters, bits per character).
    Baseline: of a guess that knows how often each token occurs, and nothing else: the entropy of the
    training tokens. Solved: never; the papers compare the number itself.

    No state is carried from one window to the next, which this training loop cannot do yet: each window of T
    tokens is read from a fresh state, in training (windows in random order) and in evaluation.
    Published numbers carry it, so at T = 35 these come out worse; a longer window narrows the gap.
    Every token of the test text but its first is predicted once. At 10,000 words keep --eval_size small, at
    20 or so: an evaluation holds eval_size x T x 10,000 numbers at a time.

    Args:
        data: a local folder whose files' names give the splits, or a name on the Hugging Face hub.
        level: words or characters.
        window: T.
        column: the column of text; in plain text files, 'text', a line a row.
        tested_on: the split that evaluation reads.
        stream: whether the text stays on disk and its windows are read as they are needed, for a text that
            does not fit into memory; None for whichever suits the size of a split. The numbers are the same.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; a column of anything but
            text; a text of fewer than two tokens; a token that is not in the training text, where that has no <unk>.
    """
    if window < 1:
        raise UserError(f"window={window}; expected at least 1")
    splits = load(data, column=column)
    both = splits["train"], test_split(splits, tested_on, data)
    counts = Counter()
    for lines in both[0].iter(LINES):
        counts.update(_tokens(lines[column], level, _at(both[0], column, data)))
    names = sorted(counts)
    number = {name: n for n, name in enumerate(names)}
    share = np.array([counts[name] for name in names]) / counts.total()
    train, test = (
        (_streamed if is_streamed(rows, stream) else _windows)(_numbered(rows, column, level, number, data), window)
        for rows in both
    )

    def batch(windows: Windows) -> Batch:
        tokens = windows.tokens.T
        mask = jnp.arange(len(tokens) - 1)[:, None] < windows.steps
        return Batch(tokens[:-1], tokens[1:], mask.astype(jnp.float32), windows.steps)

    def sample(key: Array, batch_size: int) -> Batch:
        return batch(pick(train, jax.random.randint(key, (batch_size,), 0, count_of(train))))

    return Task(
        sample,
        cross_entropy,
        bits,
        lambda metrics: jnp.zeros_like(metrics["loss"], bool),
        input_size=len(names),
        output_size=len(names),
        baseline=float(-np.sum(share * np.log(share))),
        tokens=True,
        criterion="never: the loss itself is compared",
        examples=Examples(train, test, batch),
        show=lambda batch, number: _show(batch, number, names, " " if level == "word" else ""),
    )


def bits(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of -log2 of the chance given to the target."""
    chances = jax.nn.log_softmax(outputs)
    each = -jnp.take_along_axis(chances, batch.targets[..., None], -1)[..., 0]
    return masked_mean(each, batch.mask) / math.log(2)


def _at(rows: Dataset, column: str, data: str) -> str:
    return f"data={data!r}: column {column!r} of split {str(rows.split)!r}"


def _tokens(lines: list[str], level: str, at: str) -> list[str]:
    if not all(isinstance(line, str) for line in lines):
        raise UserError(f"{at} holds values that are no text; expected a line of text a row")
    if level == "char":
        return list("".join(line + "\n" for line in lines))
    return [word for line in lines for word in (*line.split(), END)]


def _numbered(rows: Dataset, column: str, level: str, number: dict[str, int], data: str) -> list[np.ndarray]:
    """A split's tokens as numbers, piece by piece: arrays that lie on disk, in the cache of `datasets`."""
    at, unknown = _at(rows, column, data), number.get(UNKNOWN)

    def numbers(lines: dict[str, list[str]]) -> dict[str, list[int]]:
        found = []
        for token in _tokens(lines[column], level, at):
            if token not in number and unknown is None:
                raise UserError(f"data={data!r}: {token!r} is not in the training text, which has no {UNKNOWN} either")
            found.append(number.get(token, unknown))
        return {"token": found}

    pieces = mapped(rows, numbers, "token", "int32", LINES)
    if sum(map(len, pieces)) < 2:
        raise UserError(f"{at} has {sum(map(len, pieces))} tokens; expected at least 2")
    return pieces


def _windows(pieces: list[np.ndarray], window: int) -> Windows:
    """All windows, on the device."""
    count, read = _reader(pieces, window)
    return jax.tree.map(jnp.asarray, read(np.arange(count)))


def _streamed(pieces: list[np.ndarray], window: int) -> Streamed:
    """All windows, on disk."""
    return Streamed(*_reader(pieces, window))


def _reader(pieces: list[np.ndarray], window: int) -> tuple[int, Callable[[np.ndarray], Windows]]:
    """How many windows there are, and what reads those of given numbers."""
    starts = np.cumsum([0, *map(len, pieces)])
    predictions = int(starts[-1]) - 1

    def tokens(start: int) -> np.ndarray:
        """window + 1 of them, zeros behind the last."""
        found, filled = np.zeros(window + 1, np.int32), 0
        piece = int(np.searchsorted(starts, start, "right")) - 1
        while filled <= window and piece < len(pieces):
            part = pieces[piece][max(start - starts[piece], 0) :][: window + 1 - filled]
            found[filled : filled + len(part)] = part
            filled, piece = filled + len(part), piece + 1
        return found

    def read(numbers: np.ndarray) -> Windows:
        numbers = numbers.astype(np.int64)
        steps = np.minimum(window, predictions - numbers * window).astype(np.int32)
        return Windows(np.stack([tokens(start) for start in numbers * window]), steps)

    return -(-predictions // window), read


def _show(batch: Batch, number: int, names: list[str], between: str) -> str:
    read = [names[int(token)] for token in np.asarray(batch.inputs)[: length(batch, number), number]]
    asked = [names[int(token)] for token in targets(batch, number)]
    line = lambda words: repr(between.join(words))  # noqa: E731
    return f"input    {line(read)}\ntarget   {line(asked)}"

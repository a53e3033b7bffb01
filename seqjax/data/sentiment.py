"""Sentiment: one label for a whole text, read word by word."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.labels import entropy, label_names, numbered_labels, require_several, share_of_right
from seqjax.data.lexicon import forms, learned
from seqjax.data.loading import load, load_alone
from seqjax.data.stored import stored_task
from seqjax.data.text import TooLong, bounded, cuts, texts, train_and_test
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.tasks.showing import length, table
from seqjax.types import Array, Batch, Examples, Task

if TYPE_CHECKING:
    from datasets import Dataset

MARKS = "".join(c for c in map(chr, range(0x300, 0x20000)) if unicodedata.category(c)[0] == "M")  # accents, vowel signs
WORD = rf"\w[\w{MARKS}]*"
TOKEN = re.compile(rf"{WORD}(?:['’]{WORD})?|[^\w\s]")  # words, with what follows an apostrophe; single signs


class LabelledTexts(NamedTuple):
    """Texts, each as long as the longest, and their labels."""

    forms: Array  # [N, T] int32, the number of each token among all different tokens
    labels: Array  # [N] int32
    steps: Array  # [N] int32, tokens of each


def sentiment(
    data: str,
    text: str = "text",
    label: str = "label",
    min_count: int = 2,
    characters: int = 0,
    longest: int | None = None,
    too_long: TooLong = "refuse",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Read a text and say at its end of which kind it is: any texts with one label each.

    Tokens are words in lower case, with their accents (NFC) and with what follows an apostrophe ("don't", "don’t"),
    and single signs. Words that occur less than min_count times in the rows to train on are <unk>. A text without
    a token is refused.

    The loss is in nats, the score is the share of texts whose label is right.
    Baseline: the entropy of the labels to train on. Solved: never; published numbers are compared.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv).
        text: the column of texts.
        label: the column of labels, whole numbers or texts.
        min_count: how often a word must occur to be one of its own.
        characters: C, at least 2, to read the characters of each token too; 0 for words alone.
        longest: tokens of the longest text; None for any.
        too_long: whether longer ones are refused, or cut with a warning that tells how many; those to test on too,
            which are then graded as they are cut.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; with the row's number, a text that is
            missing, empty or too long, or a label that is missing or that no row to train on has; one label alone.
    """

    def tokens_in(rows: Dataset, data: str) -> list[list[str]]:
        return bounded([tokenized(each) for each in texts(rows, text, data)], longest, too_long, rows, text, data)

    def read(rows: Dataset) -> list[tuple[list[str], tuple[str, str]]]:
        return list(zip(tokens_in(rows, data), label_names(rows, label, data)))

    train, test = train_and_test(load(data, text=text, label=label), read, tested_on, test_share, data)
    words = learned([tokens for tokens, _ in train], min_count, True, characters)
    names, labels = numbered_labels([name for _, name in train], [name for _, name in test])
    require_several(names, label, data)
    tokens_of = forms(words, (tokens for tokens, _ in [*train, *test]))
    train, test = (
        LabelledTexts(
            tokens_of.numbers([tokens for tokens, _ in rows]),
            jnp.asarray(kinds),
            jnp.asarray([len(tokens) for tokens, _ in rows], jnp.int32),
        )
        for rows, kinds in zip((train, test), labels)
    )

    def batch(picked: LabelledTexts) -> Batch:
        inputs = tokens_of.rows[picked.forms.T]
        return Batch(inputs, picked.labels, jnp.ones(picked.labels.shape, jnp.float32), picked.steps)

    def spell(batch: Batch, answers: Array, number: int) -> list[str]:
        return [names[int(np.asarray(answers)[number])]]

    def show(batch: Batch, number: int) -> str:
        shown, unknown = words.shown(np.asarray(batch.inputs)[: length(batch, number), number])
        return f"{table({'token': shown, 'unknown': unknown})}\nlabel    {names[int(batch.targets[number])]}"

    def asked(tokens: list[list[str]]) -> Batch:
        return words.batch(tokens, batch(jax.tree.map(lambda leaf: leaf[:1], train)))

    return stored_task(
        Examples(train, test, batch, lambda picked: picked.steps, cuts(np.asarray(train.steps))),
        cross_entropy,
        accuracy,
        coding=(tuple(words.words), tuple(words.alphabet), tuple(names)),
        input_size=len(words.words),
        output_size=len(names),
        baseline=entropy(labels[0]),
        readout="last",
        tokens=True,
        compared="the share of labels that are right",
        show=show,
        characters=len(words.alphabet) or None,
        spell=spell,
        parse=lambda lines: asked([tokenized(line) for line in lines]),
        read=lambda path: (asked(tokens_in(load_alone(path, text=text), path)), None),
        grade=lambda truth, said, steps: {"accuracy": share_of_right(truth, said)},
    )


def tokenized(text: str) -> list[str]:
    """The tokens of a text."""
    return TOKEN.findall(unicodedata.normalize("NFC", text.lower()))

"""Tagging: a label for every token of a sentence, read as words and as their characters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.lexicon import Forms, forms, learned
from seqjax.data.loading import load, load_alone
from seqjax.data.stored import stored_task
from seqjax.data.text import TooLong, bounded, cuts, filled, place, token_lists, train_and_test, vocabulary
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.tasks.showing import length, table, targets
from seqjax.types import Array, Batch, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

Sentence = tuple[list[str], list[str]]  # its tokens and its tags


class Sentences(NamedTuple):
    """Sentences, each as long as the longest."""

    forms: Array  # [N, T] int32, the number of each token among all different tokens
    tags: Array  # [N, T] int32
    steps: Array  # [N] int32, tokens of each


def tagging(
    data: str,
    tokens: str = "tokens",
    tags: str = "upos",
    min_count: int = 2,
    lower: bool = True,
    characters: int = 16,
    longest: int | None = None,
    too_long: TooLong = "refuse",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Give every token of a sentence its label, from the whole sentence (--bidirectional) or what came before.

    A step reads the number of a word, and its characters by number: inputs [T, B, 1 + C]. Words that occur
    less than min_count times in the rows to train on are <unk>, and so an unknown word is one more that is
    learned; characters that do not occur there are one more too. Of a token longer than C the first and the last
    C/2 characters are read.

    The loss is in nats a token, the score is the share of tokens whose label is right.
    Baseline: of a guess from the word alone on the rows to test on, by the counts of the rows to train on:
    (n(word, label) + p(label)) / (n(word) + 1), with p(label) of all words, half a word more for each label.
    Solved: never; published numbers are compared.

    A label that occurs in the rows to test on alone is one that cannot be learned, and counts as wrong.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv), or CoNLL files, a line a
            token: of a .conllu the columns are tokens, lemmas, upos, xpos, ...; of any other, a .conll, they are
            tokens, field2, field3, ..., tags, as many as its lines have fields.
        tokens: the column of tokens: lists, or texts with spaces between the tokens.
        tags: the column of labels, as many in a row as tokens.
        min_count: how often a word must occur to be one of its own.
        lower: words are told apart without regard to case (characters with it).
        characters: C, at least 2; 0 reads words alone, inputs [T, B].
        longest: tokens of the longest sentence; None for any.
        too_long: whether longer ones are refused, or cut with a warning that tells how many; those to test on too,
            which are then graded as they are cut.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; with the row's number, a row
            without tokens, with as many labels as it has not tokens, or that is too long.
    """

    def read(rows: Dataset) -> list[Sentence]:
        words, labels = (token_lists(rows, column, data) for column in (tokens, tags))
        for row, (some, others) in enumerate(zip(words, labels)):
            if len(some) != len(others):
                at = place(rows, tags, data, row)
                raise UserError(f"{at} holds {len(others)} labels for {len(some)} tokens; expected as many")
        return list(zip(*(bounded(each, longest, too_long, rows, tokens, data) for each in (words, labels))))

    def labels(rows: Dataset) -> list[str]:
        """Those of a split; none where they are withheld, which `read` tells of the split to test on."""
        try:
            return [tag for said in token_lists(rows, tags, data) for tag in said]
        except UserError:
            return []

    splits = load(data, tokens=tokens, tags=tags)
    train, test = train_and_test(splits, read, tested_on, test_share, data)
    words = learned([tokens for tokens, _ in train], min_count, lower, characters)
    names = vocabulary((tag for _, said in train for tag in said), first=())
    # of every split, so that a network trained here answers whichever is tested on
    every = vocabulary((tag for rows in splits.values() for tag in labels(rows)), first=())
    names += [tag for tag in every if tag not in names]
    tokens_of = forms(words, (tokens for tokens, _ in [*train, *test]))
    train, test = (_numbers(sentences, tokens_of, names) for sentences in (train, test))

    def batch(sentences: Sentences) -> Batch:
        mask = jnp.arange(sentences.forms.shape[1])[:, None] < sentences.steps
        return Batch(tokens_of.rows[sentences.forms.T], sentences.tags.T, mask.astype(jnp.float32), sentences.steps)

    def spell(batch: Batch, answers: Array, number: int) -> list[str]:
        return [names[int(tag)] for tag in np.asarray(answers)[: length(batch, number), number]]

    def show(batch: Batch, number: int) -> str:
        shown, unknown = words.shown(np.asarray(batch.inputs)[: length(batch, number), number])
        asked = [names[int(tag)] for tag in targets(batch, number)]
        return table({"token": shown, "unknown": unknown, "label": asked})

    def asked(sentences: list[list[str]]) -> Batch:
        return words.batch(sentences, batch(jax.tree.map(lambda leaf: leaf[:1], train)))

    def read_file(path: str) -> tuple[Batch, None]:
        rows = load_alone(path, tokens=tokens)
        return asked(bounded(token_lists(rows, tokens, path), longest, too_long, rows, tokens, path)), None

    return stored_task(
        Examples(train, test, batch, lambda sentences: sentences.steps, cuts(np.asarray(train.steps))),
        cross_entropy,
        accuracy,
        coding=(tuple(words.words), tuple(words.alphabet), tuple(names)),
        input_size=len(words.words),
        output_size=len(names),
        baseline=_loss_given_word(train, test, tokens_of.rows, len(names)),
        tokens=True,
        compared="the share of labels that are right",
        show=show,
        characters=len(words.alphabet) or None,
        spell=spell,
        parse=lambda lines: asked([line.split() for line in lines]),
        read=read_file,
        grade=lambda truth, said, steps: {"accuracy": share_right(truth, said)},
    )


def share_right(truth: list[list[str]], said: list[list[str]]) -> float:
    """The share of all places whose label is right."""
    pairs = [pair for one, other in zip(truth, said, strict=True) for pair in zip(one, other, strict=True)]
    return sum(one == other for one, other in pairs) / len(pairs)


def _numbers(sentences: list[Sentence], tokens_of: Forms, names: list[str]) -> Sentences:
    tag = {name: n for n, name in enumerate(names)}
    return Sentences(
        tokens_of.numbers([tokens for tokens, _ in sentences]),
        jnp.asarray(filled([[tag[name] for name in said] for _, said in sentences])),
        jnp.asarray([len(tokens) for tokens, _ in sentences], jnp.int32),
    )


def _loss_given_word(train: Sentences, test: Sentences, rows: Array, labels: int) -> float:
    """-log p(label | word) in nats, a mean over the tokens to test on, of the counts of those to train on.

    H(label | word) of the counts themselves is no loss that such a guess has on other rows: most words are rare.
    """
    read_as = np.asarray(rows).reshape(len(rows), -1)[:, 0]

    def pairs(sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
        exists = np.arange(sentences.forms.shape[1]) < np.asarray(sentences.steps)[:, None]
        return read_as[np.asarray(sentences.forms)][exists], np.asarray(sentences.tags)[exists]

    words, tags = pairs(train)
    often = (np.bincount(tags, minlength=labels) + 0.5) / (len(tags) + 0.5 * labels)
    both, alone = Counter(zip(words.tolist(), tags.tolist())), Counter(words.tolist())
    asked = zip(*(each.tolist() for each in pairs(test)))
    chances = [(both[word, tag] + often[tag]) / (alone[word] + 1) for word, tag in asked]
    return float(-np.mean(np.log(chances)))

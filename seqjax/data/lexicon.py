"""How tokens are read: by the number of a word, and where wanted by their characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.text import UNKNOWN, filled, vocabulary
from seqjax.types import Array, Batch, UserError

NO_CHARACTER = ""
MOST_CHARACTERS = 1000


class Lexicon(NamedTuple):
    """The words and the characters that are told apart; what is not among them is <unk>.

    words:    name of each number; 0 is <unk>
    alphabet: the character of each number; 0 is none, 1 is <unk>; empty where words alone are read
    most:     C, characters of a token
    lower:    words are told apart without regard to case
    """

    words: list[str]
    alphabet: list[str]
    most: int
    lower: bool

    def rows(self, tokens: Iterable[str]) -> np.ndarray:
        """[N] numbers of words, or [N, 1 + C] with the characters behind; filled up with 0."""
        tokens = list(tokens)
        word = {name: n for n, name in enumerate(self.words)}
        read = np.array([word.get(token.lower() if self.lower else token, 0) for token in tokens], np.int32)
        if not self.most:
            return read
        letter = {name: n for n, name in enumerate(self.alphabet)}
        spelled = filled([[letter.get(c, 1) for c in ends(token, self.most)] for token in tokens], self.most)
        return np.concatenate([read[:, None], spelled], 1)

    def shown(self, inputs: np.ndarray) -> tuple[list[str], list[str]]:
        """What stands in the inputs of a sequence, and a '?' below each word that is not known."""
        rows = np.asarray(inputs).reshape(len(inputs), -1)
        spelled = ["".join(self.alphabet[c] for c in row[1:]) or self.words[row[0]] for row in rows]
        return spelled, ["" if row[0] else "?" for row in rows]

    def batch(self, sentences: Sequence[Sequence[str]], like: Batch) -> Batch:
        """Sentences as a batch whose targets, as those of `like`, are not known: zeros that count for nothing."""
        steps = [len(sentence) for sentence in sentences]
        inputs = np.zeros((max(steps), len(steps), *like.inputs.shape[2:]), np.int32)
        for n, sentence in enumerate(sentences):
            inputs[: len(sentence), n] = self.rows(sentence)
        shape = inputs.shape[:2] if like.mask.ndim == 2 else (len(steps),)
        nothing = jnp.zeros(shape, jnp.int32)
        return Batch(jnp.asarray(inputs), nothing, nothing.astype(jnp.float32), jnp.asarray(steps, jnp.int32))


def learned(sentences: Sequence[Sequence[str]], min_count: int, lower: bool, characters: int) -> Lexicon:
    """What sentences to train on teach: the words that occur so often, and all their characters.

    Raises:
        UserError: a min_count below 1, or characters that are neither 0 nor from 2 to 1,000.
    """
    if characters != 0 and not 2 <= characters <= MOST_CHARACTERS:
        raise UserError(f"characters={characters}; expected 0, or 2 to {MOST_CHARACTERS}")
    tokens = [token for sentence in sentences for token in sentence]
    words = vocabulary((token.lower() if lower else token for token in tokens), min_count)
    alphabet = vocabulary((c for token in tokens for c in token), 1, (NO_CHARACTER, UNKNOWN)) if characters else []
    return Lexicon(words, alphabet, characters, lower)


class Forms(NamedTuple):
    """Every different token once, so that examples hold one number a token."""

    number: dict[str, int]
    rows: Array  # [F] or [F, 1 + C]: what `Lexicon.rows` says of each

    def numbers(self, sentences: Sequence[Sequence[str]]) -> Array:
        """[N, T] int32, filled up with 0."""
        return jnp.asarray(filled([[self.number[token] for token in sentence] for sentence in sentences]))


def forms(words: Lexicon, sentences: Iterable[Sequence[str]]) -> Forms:
    """The different tokens of all sentences."""
    different = vocabulary((token for sentence in sentences for token in sentence), first=())
    return Forms({token: n for n, token in enumerate(different)}, jnp.asarray(words.rows(different)))


def ends(token: str, most: int) -> str:
    """The token, or of one that is too long its first and its last characters."""
    return token if len(token) <= most else token[: (most + 1) // 2] + token[len(token) - most // 2 :]

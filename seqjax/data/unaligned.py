"""Strings that are read without being told where each word stands: loss over all alignments, best path, error rate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from seqjax.types import Array, Batch


def string_loss(outputs: Array, batch: Batch) -> Array:
    """-Σ log p(string) / Σ words, in nats; outputs [T, B, 1 + words], where 0 is the blank; targets [U, B]."""
    time = jnp.arange(outputs.shape[0])
    beyond = (time >= batch.lengths[:, None]).astype(jnp.float32)
    each = optax.ctc_loss(jnp.swapaxes(outputs, 0, 1), beyond, batch.targets.T, (batch.targets.T == 0) * 1.0)
    counts = batch.mask[0]  # a string counts as a whole
    return jnp.sum(each * counts) / jnp.maximum(jnp.sum(batch.mask), 1)


def best_path(outputs: Array, batch: Batch, longest: int) -> Array:
    """The likeliest word or blank of each step, repetitions as one and without blanks [U, B]; at most `longest`."""
    said = jnp.argmax(outputs, -1) * (jnp.arange(len(outputs))[:, None] < batch.lengths)
    begins = (said > 0) & (said != jnp.concatenate([jnp.zeros_like(said[:1]), said[:-1]]))
    place = jnp.where(begins, jnp.cumsum(begins, 0) - 1, longest)
    table = jnp.zeros((longest + 1, said.shape[1]), said.dtype)
    return jax.vmap(lambda row, at, word: row.at[at].set(word, mode="drop"), (1, 1, 1), 1)(table, place, said)[:longest]


def strings_right(outputs: Array, batch: Batch) -> Array:
    """The share of words whose whole string the best path says without an error: long strings weigh more."""
    said = best_path(outputs, batch, len(batch.targets) + 1)
    right = jnp.all(said[:-1] == batch.targets, 0) & (said[-1] == 0)
    return jnp.sum(right * batch.mask) / jnp.maximum(jnp.sum(batch.mask), 1)


def word_error_rate(truth: list[list[str]], said: list[list[str]]) -> float:
    """(substitutions + deletions + insertions) / words, of the alignment with the fewest of them, over all strings."""
    wrong = sum(edits(one, other) for one, other in zip(truth, said, strict=True))
    return wrong / sum(len(one) for one in truth)


def edits(truth: list[str], said: list[str]) -> int:
    """How many words must be put in, taken out or changed to make one of the other. (Levenshtein 1966)"""
    costs = list(range(len(said) + 1))
    for n, word in enumerate(truth, 1):
        before, costs[0] = costs[0], n
        for m, other in enumerate(said, 1):
            before, costs[m] = costs[m], min(before + (word != other), costs[m] + 1, costs[m - 1] + 1)
    return costs[-1]

"""Parity: is the number of ones so far odd? One bit of memory that every step may turn."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import accuracy, at_least, cross_entropy
from seqjax.types import Array, Batch, Task, UserError

CRITERION = "99.9 % of the sequences classified right"


def parity(length: int = 100, min_length: int | None = None) -> Task:
    """Bits in, at the end the parity of their sum.

    Each bit is 1 with chance 1/2. With a min_length, each sequence's length is drawn from
    min_length ... length. (Minsky & Papert 1969; Beck et al. 2024 train on lengths 3 to 40)

    Baseline: ln 2, as parity is independent of any proper part of the bits. A sequence of one bit is its own
    parity, which needs no memory: with min_length=1 the best guess without memory is a little better.
    Solved: 99.9 % of the sequences right. The score is that share.

    Args:
        length: T, the (longest) length.
        min_length: the shortest length; None for the same length in all.

    Raises:
        UserError: a length below 1, or a min_length outside 1 ... length.
    """
    shortest = length if min_length is None else min_length
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    if not 1 <= shortest <= length:
        raise UserError(f"min_length={min_length}; expected from 1 to length={length}")

    def sample(key: Array, batch_size: int) -> Batch:
        key_bits, key_length = jax.random.split(key)
        bits = jax.random.bernoulli(key_bits, 0.5, (length, batch_size)).astype(jnp.int32)
        lengths = None
        if shortest < length:
            lengths = jax.random.randint(key_length, (batch_size,), shortest, length + 1)
            bits = jnp.where(jnp.arange(length)[:, None] < lengths, bits, 0)
        return Batch(bits, jnp.sum(bits, 0) % 2, jnp.ones(batch_size), lengths)

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.999)

    return Task(sample, cross_entropy, accuracy, solved, 2, 2, math.log(2), "last", tokens=True, criterion=CRITERION)

"""Two marked numbers in a sequence of many, as the experiments of 1997 draw them: padded length, marks at the ends."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array

SHORTEST = 22  # the marks need the room
MARGIN = 0.04  # a sequence counts as right where the error is below


class Marked(NamedTuple):
    """A batch of the numbers x [T', B], of which two are marked."""

    inputs: Array  # [T', B, 2]: number and mark; both 0 past a sequence's length
    marks: Array  # [T', B] 1 at the two places
    lengths: Array  # [B]


def mark(key_first: Array, key_second: Array, key_length: Array, x: Array, length: int, neutral: float) -> Marked:
    """Mark one of the first ten steps, and one of the first T/2 - 1 that are left.

    Lengths are drawn from T to 1.1·T. The first and the last step carry the mark -1, unless the
    first is one of the two; other steps carry 0. The number of a first step that is marked is set to
    `neutral`. (Hochreiter & Schmidhuber 1997, experiments 4 and 5)

    Args:
        key_first, key_second, key_length: keys of the three draws.
        x: the numbers [T + T // 10, B].
        length: T, at least SHORTEST.
        neutral: 0 for sums, 1 for products.
    """
    longest, batch_size = x.shape
    steps = jnp.arange(longest)[:, None]
    first = jax.random.randint(key_first, (batch_size,), 0, 10)
    second = jax.random.randint(key_second, (batch_size,), 0, length // 2 - 1)
    second += second >= first  # the places that are left, in order
    marks = ((steps == first) | (steps == second)).astype(x.dtype)
    lengths = jax.random.randint(key_length, (batch_size,), length, longest + 1)
    ends = (steps == 0) | (steps == lengths - 1)
    x = jnp.where((steps == 0) & (marks == 1), neutral, x)
    inputs = jnp.stack([x, jnp.where(ends & (marks == 0), -1.0, marks)], -1)
    return Marked(jnp.where((steps < lengths)[..., None], inputs, 0.0), marks, lengths)


def first_step_chance(length: int) -> float:
    """How often the first step is one of the two that are marked.

    It is the first mark's with chance 1/10; else, in 9/10, it is among the T/2 - 1 places left for the
    second.
    """
    return 1 / 10 + 9 / 10 / (length // 2 - 1)

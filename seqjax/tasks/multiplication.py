"""Multiplication: remember two marked numbers among many, and give their product at the end."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.tasks.marking import MARGIN, SHORTEST, first_step_chance, mark
from seqjax.tasks.scoring import above, masked_mean, squared_error
from seqjax.types import Array, Batch, Task, UserError


def multiplication(length: int = 100) -> Task:
    """Each step holds a number and a mark; two numbers are marked; the target is their product.

    Lengths from T to 1.1·T; numbers in U[0, 1]; one mark among the first ten steps, one among the
    first T/2 - 1 that are left; the first and the last step carry the mark -1; a number marked in the
    first step is 1; target x1·x2. (Hochreiter & Schmidhuber 1997, experiment 5)

    Baseline: the variance of the target. Of a product of two U[0, 1] mean and mean square are 1/4 and
    1/9, of a single one 1/2 and 1/3; with q, the chance that the first step is marked, it is
    (1 - q)/9 + q/3 - ((1 - q)/4 + q/2)².
    Solved: error below .04 on more than 99.35 % of the sequences (the paper: fewer than n = 13 of the last
    2,000 above it; its other, easier criterion is n = 140). The score is that share.

    Args:
        length: T, the shortest length.

    Raises:
        UserError: a length below 22, in which the marks have no room.
    """
    if length < SHORTEST:
        raise UserError(f"length={length}; expected at least {SHORTEST}")
    q = first_step_chance(length)

    def sample(key: Array, batch_size: int) -> Batch:
        key_x, *keys = jax.random.split(key, 4)
        x = jax.random.uniform(key_x, (length + length // 10, batch_size))
        marked = mark(*keys, x, length, neutral=1.0)
        target = jnp.prod(jnp.where(marked.marks == 1, marked.inputs[..., 0], 1.0), 0)
        return Batch(marked.inputs, target[:, None], jnp.ones(batch_size), marked.lengths)

    def score(outputs: Array, batch: Batch) -> Array:
        return masked_mean(jnp.abs(outputs - batch.targets)[..., 0] < MARGIN, batch.mask)

    def solved(metrics: dict[str, Array]) -> Array:
        return above(metrics["score"], 1 - 13 / 2000)

    return Task(
        sample,
        squared_error,
        score,
        solved,
        input_size=2,
        output_size=1,
        baseline=(1 - q) / 9 + q / 3 - ((1 - q) / 4 + q / 2) ** 2,
        readout="last",
        criterion="error below .04 on more than 99.35 % of the sequences",
    )

"""Adding: remember two marked numbers among many, and give their sum at the end."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.tasks.marking import MARGIN, SHORTEST, first_step_chance, mark
from seqjax.tasks.scoring import at_least, masked_mean, squared_error
from seqjax.types import Array, Batch, Task, UserError


def adding(length: int = 100, variant: Literal["urnn", "tcn", "hs97"] = "urnn") -> Task:
    """Each step holds a number and a mark; two numbers are marked; the target is their sum.

    Variants:
        'urnn': numbers in U[0, 1], one mark in each half of the sequence, target x1 + x2, baseline
            the variance of the target, 2/12 = 1/6. (Arjovsky, Shah & Bengio 2016, section 4.2)
        'tcn': as 'urnn', but the two marks fall anywhere. (Bai, Kolter & Koltun 2018)
        'hs97': lengths from T to 1.1·T; numbers in U[-1, 1]; one mark among the first ten steps, one
            among the first T/2 - 1 that are left; the first and the last step carry the mark -1; a
            number marked in the first step is 0; target 1/2 + (x1 + x2)/4.
            (Hochreiter & Schmidhuber 1997, experiment 4)

    Solved: in 'hs97', error below .04 on 99.9 % of the sequences and a mean squared error below .01
    (the paper: mean training error below .01, and the last 2,000 sequences processed correctly). The
    other two papers state no criterion; here it is a mean squared error below .01, a sixteenth of
    the baseline.

    The baseline always answers the target's mean, as the papers' does. Where the last step is marked its number is
    known without memory: a guess that sees it has 1/6 - 1/(6·T), in 'urnn' of an even T and in 'tcn'.

    The score is the share of sequences whose error is below 4 % of the target's range.

    Args:
        length: T, the (shortest) length.
        variant: which paper's generator.

    Raises:
        UserError: a length below 2, or below 22 in 'hs97', whose marks need the room.
    """
    shortest = SHORTEST if variant == "hs97" else 2
    if length < shortest:
        raise UserError(f"length={length}; expected at least {shortest}")
    margin = MARGIN if variant == "hs97" else 2 * MARGIN
    longest = length + length // 10 if variant == "hs97" else length

    def sample(key: Array, batch_size: int) -> Batch:
        key_x, key_a, key_b, key_length = jax.random.split(key, 4)
        steps = jnp.arange(longest)[:, None]
        if variant == "hs97":
            x = jax.random.uniform(key_x, (longest, batch_size), minval=-1.0, maxval=1.0)
            marked = mark(key_a, key_b, key_length, x, length, neutral=0.0)
            target = 0.5 + jnp.sum(marked.inputs[..., 0] * marked.marks, 0) / 4
            return Batch(marked.inputs, target[:, None], jnp.ones(batch_size), marked.lengths)
        x = jax.random.uniform(key_x, (longest, batch_size))
        if variant == "urnn":
            first = jax.random.randint(key_a, (batch_size,), 0, length // 2)
            second = jax.random.randint(key_b, (batch_size,), length // 2, length)
        else:
            first = jax.random.randint(key_a, (batch_size,), 0, length)
            second = jax.random.randint(key_b, (batch_size,), 0, length - 1)
            second += second >= first  # the places that are left, in order
        marks = ((steps == first) | (steps == second)).astype(x.dtype)
        return Batch(jnp.stack([x, marks], -1), jnp.sum(x * marks, 0)[:, None], jnp.ones(batch_size))

    criterion = "mean squared error below .01"
    if variant == "hs97":
        criterion += ", and error below .04 on 99.9 % of the sequences"

    def score(outputs: Array, batch: Batch) -> Array:
        return masked_mean(jnp.abs(outputs - batch.targets)[..., 0] < margin, batch.mask)

    def solved(metrics: dict[str, Array]) -> Array:
        below = metrics["loss"] < 0.01
        return below & at_least(metrics["score"], 0.999) if variant == "hs97" else below

    return Task(sample, squared_error, score, solved, 2, 1, _baseline(length, variant), "last", criterion=criterion)


def _baseline(length: int, variant: str) -> float:
    """Variance of the target: the loss of always answering its mean.

    'hs97': a number that counts has variance 1/3, and one marked in the first step has none.
    """
    if variant != "hs97":
        return 1 / 6
    return (2 - first_step_chance(length)) / 3 / 16

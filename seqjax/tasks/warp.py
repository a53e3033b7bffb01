"""Warp: give the character before the present one, though time runs slowly, evenly or by fits and starts."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import accuracy, at_least, cross_entropy
from seqjax.tasks.showing import spelled
from seqjax.types import Array, Batch, Task, UserError

DUMMY = 0
MOST_STEPS = 1_000_000


def warp(
    length: int = 500,
    warping: int = 10,
    variant: Literal["uniform", "variable"] = "variable",
    padding: bool = False,
    symbols: int = 9,
) -> Task:
    """Random characters, each held for a while; asked for at every step is the character before.

    A sequence of characters, each unlike the one before it, is stretched: each character is said for
    n steps, and the whole is cut off at T steps. While the first is said, the answer is the dummy.
    With padding, each character is said once, followed by n - 1 dummies, at which the answer is the
    dummy. (Tallec & Ollivier 2018, section 3, "Pure warpings and paddings": T = 500, an alphabet of
    10 with the dummy, warping up to 100)

    Variants:
        'uniform': n is the warping for every character.
        'variable': n is drawn for every character from 1 to the warping.

    Baseline: the best guess from the time step and the present character. It says dummy during the
    first character, and where the input is the dummy; else it guesses among S - 1, for the character
    before is unlike the present one: ln(S - 1) for each step from the second character on that counts,
    plus, in 'variable', the doubt whether the second has come yet.
    Solved: 99.9 % of the steps answered right (the paper shows the loss only). The score is that share.

    The paper's text does not say what is asked for at the dummies of a padded sequence; here it is
    the dummy.

    Args:
        length: T.
        warping: n, or the most of it.
        variant: whether n is one for all.
        padding: fill up with dummies instead of saying the character again.
        symbols: S, characters beside the dummy.

    Raises:
        UserError: a length below 2, or above 1,000,000 in 'variable'; warping outside 1 ... length - 1; symbols
            below 3.
    """
    if length < 2:
        raise UserError(f"length={length}; expected at least 2")
    if not 1 <= warping < length:
        raise UserError(f"warping={warping}; expected from 1 to below length={length}")
    if variant == "variable" and length > MOST_STEPS:
        raise UserError(f"length={length}; expected at most {MOST_STEPS}: the baseline is a sum over the steps")
    if symbols < 3:
        raise UserError(f"symbols={symbols}; expected at least 3")

    def sample(key: Array, batch_size: int) -> Batch:
        key_first, key_rest, key_times = jax.random.split(key, 3)
        shape = (length, batch_size)
        first = jax.random.randint(key_first, (1, batch_size), 0, symbols)
        moves = jax.random.randint(key_rest, (length - 1, batch_size), 1, symbols)  # round the alphabet, never 0
        said = 1 + jnp.cumsum(jnp.concatenate([first, moves]), 0) % symbols
        if variant == "uniform":
            number = jnp.broadcast_to(jnp.arange(length)[:, None] // warping, shape)
        else:
            times = jax.random.randint(key_times, shape, 1, warping + 1)
            # the step at which each character gives way to the next; cut off, as the sum may pass the largest integer
            ends = jax.lax.associative_scan(lambda a, b: jnp.minimum(a + b, length), times)
            number = jax.vmap(lambda e: jnp.searchsorted(e, jnp.arange(length), side="right"), 1, 1)(ends)
        before = jnp.concatenate([jnp.full((1, batch_size), DUMMY, said.dtype), said])
        inputs = jnp.take_along_axis(said, number, 0)
        targets = jnp.take_along_axis(before, number, 0)
        if padding:
            new = jnp.concatenate([jnp.ones((1, batch_size), bool), number[1:] != number[:-1]])
            inputs, targets = jnp.where(new, inputs, DUMMY), jnp.where(new, targets, DUMMY)
        return Batch(inputs, targets, jnp.ones(shape))

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.999)

    return Task(
        sample,
        cross_entropy,
        accuracy,
        solved,
        input_size=symbols + 1,
        output_size=symbols + 1,
        baseline=_baseline(length, warping, variant, padding, symbols),
        tokens=True,
        criterion="99.9 % of the steps answered right",
        show=spelled(lambda n: "_" if n == DUMMY else chr(ord("a") + n - 1) if symbols <= 26 else str(n)),
    )


def _baseline(length: int, warping: int, variant: str, padding: bool, symbols: int) -> float:
    """Mean over the steps of the entropy of the answer, given the time step and what is read there.

    With q_t the chance that a character other than the first is said at step t (with padding: that a
    new one begins there, where anything but the dummy is read at a step after the first):
    q_t ln(S - 1), and without padding the doubt h(q_t) = -q_t ln q_t - (1 - q_t) ln(1 - q_t) as well.
    """
    guess = math.log(symbols - 1)
    if variant == "uniform":
        asked = (length - 1) // warping if padding else length - warping
        return asked * guess / length
    if padding:  # a renewal process: u_t is the chance that a character begins at step t
        begins, latest = [1.0], 1.0
        for t in range(1, length):
            begins.append(latest / warping)
            latest += begins[t] - (begins[t - warping] if t >= warping else 0.0)
        return guess * sum(begins[1:]) / length
    total = 0.0
    for t in range(length):
        q = min(t / warping, 1.0)  # the first character is over after n <= t steps
        total += q * guess - sum(p * math.log(p) for p in (q, 1 - q) if p)
    return total / length

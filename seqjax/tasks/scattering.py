"""What denoising and selective copying share: symbols at random steps of T, to be repeated in order at the end."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import at_least, cross_entropy
from seqjax.tasks.showing import numbered, spelled
from seqjax.types import Array, Batch, Task, UserError


def picked_out(
    length: int,
    symbols: int,
    tokens: int,
    score: Callable[[Array, Batch], Array],
    criterion: str,
    *,
    markers: int,
    blanks: int,
) -> Task:
    """T steps with K symbols among zeros, then markers S + 1, then zeros; in the last K steps they are asked for.

    Args:
        length: T.
        symbols: S.
        tokens: K.
        score: of which .99 solves the task.
        criterion: that, in words.
        markers, blanks: how many.

    Raises:
        UserError: a length below 1, symbols below 2, or tokens outside 1 ... length.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    if symbols < 2:
        raise UserError(f"symbols={symbols}; expected at least 2")
    if not 1 <= tokens <= length:
        raise UserError(f"tokens={tokens}; expected from 1 to length={length}")

    def sample(key: Array, batch_size: int) -> Batch:
        key_said, key_places = jax.random.split(key)
        said = jax.random.randint(key_said, (tokens, batch_size), 1, symbols + 1)
        after = jnp.zeros((markers + blanks, batch_size), said.dtype).at[:markers].set(symbols + 1)
        inputs = jnp.concatenate([_scattered(key_places, said, length), after])
        targets = jnp.zeros_like(inputs).at[-tokens:].set(said - 1)
        return Batch(inputs, targets, jnp.zeros(inputs.shape).at[-tokens:].set(1.0))

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.99)

    return Task(
        sample,
        cross_entropy,
        score,
        solved,
        input_size=symbols + 2,
        output_size=symbols,
        baseline=math.log(symbols),
        tokens=True,
        criterion=criterion,
        show=spelled(numbered(symbols), lambda answer: str(answer + 1)),
    )


def _scattered(key: Array, said: Array, length: int) -> Array:
    """Tokens [T, B]: the symbols [K, B] in order, at K distinct of T steps, every choice as likely; else zero."""
    count, batch_size = said.shape
    _, places = jax.lax.top_k(jax.random.uniform(key, (batch_size, length)), count)
    blank = jnp.zeros((length, batch_size), said.dtype)
    return blank.at[jnp.sort(places, -1).T, jnp.arange(batch_size)].set(said)

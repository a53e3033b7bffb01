"""Associative recall: read pairs of a key and a value, then a key, and give its value."""

from __future__ import annotations

import math
import string

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import accuracy, at_least, cross_entropy
from seqjax.tasks.showing import spelled
from seqjax.types import Array, Batch, Task, UserError


def associative_recall(pairs: int = 4, keys: int = 26, values: int = 10) -> Task:
    """'c9k8j3f1??c' -> 9: K pairs of a letter and a digit, two question marks, one of the letters.

    The K letters are distinct, in any order, the digits are drawn freely, and the letter asked for is
    any of the K. Tokens: the letters, the digits, the question mark. (Ba et al. 2016, "Using Fast
    Weights to Attend to the Recent Past", section 4.1, K = 4; the idea is that of Graves, Wayne &
    Danihelka 2014, whose items are random bits)

    Baseline: ln of how many digits there are. Who remembers the digits but not their letters does better.
    Solved: 99 % of the sequences right (the paper states no criterion). The score is that share.

    Args:
        pairs: K.
        keys: how many letters there are.
        values: how many digits there are.

    Raises:
        UserError: pairs outside 1 ... keys, no keys, or fewer than 2 values.
    """
    if keys < 1:
        raise UserError(f"keys={keys}; expected at least 1")
    if values < 2:
        raise UserError(f"values={values}; expected at least 2")
    if not 1 <= pairs <= keys:
        raise UserError(f"pairs={pairs}; expected from 1 to keys={keys}")

    def sample(key: Array, batch_size: int) -> Batch:
        key_keys, key_values, key_asked = jax.random.split(key, 3)
        _, letters = jax.lax.top_k(jax.random.uniform(key_keys, (batch_size, keys)), pairs)
        digits = jax.random.randint(key_values, (batch_size, pairs), 0, values)
        asked = jax.random.randint(key_asked, (batch_size, 1), 0, pairs)
        said = jnp.stack([letters, keys + digits], -1).reshape(batch_size, 2 * pairs)
        marks = jnp.full((batch_size, 2), keys + values, said.dtype)
        inputs = jnp.concatenate([said, marks, jnp.take_along_axis(letters, asked, 1)], 1).T
        return Batch(inputs, jnp.take_along_axis(digits, asked, 1)[:, 0], jnp.ones(batch_size))

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.99)

    def name(token: int) -> str:
        if token < keys:
            return string.ascii_lowercase[token] if keys <= 26 else f"k{token}"
        return "?" if token == keys + values else str(token - keys)

    return Task(
        sample,
        cross_entropy,
        accuracy,
        solved,
        input_size=keys + values + 1,
        output_size=values,
        baseline=math.log(values),
        readout="last",
        tokens=True,
        criterion="99 % of the sequences right",
        show=spelled(name, str),
    )

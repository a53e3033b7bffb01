"""What tasks on stored examples share: sampling them, and numbers that are compared rather than solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.data.streamed import count_of, pick
from seqjax.types import Array, Batch, Examples, Task


def stored_task(
    examples: Examples,
    loss: Callable[[Array, Batch], Array],
    score: Callable[[Array, Batch], Array],
    compared: str = "the loss itself",
    **fields: Any,
) -> Task:
    """A Task of stored examples; `fields` are its others.

    Samples are drawn from those to train on, with replacement. Unless `fields` say otherwise it is
    never solved: papers compare a number, named by `compared`.

    A program compiled around `sample` holds the examples as a constant, which costs seconds to compile for
    large ones; training hands it `examples.train` as an argument instead.
    """

    def sample(key: Array, batch_size: int) -> Batch:
        numbers = jax.random.randint(key, (batch_size,), 0, count_of(examples.train))
        return examples.batch(pick(examples.train, numbers))

    never = {"solved": _never, "criterion": f"never: {compared} is compared"}
    return Task(sample, loss, score, examples=examples, **(never | fields))


def _never(metrics: dict[str, Array]) -> Array:
    return jnp.zeros_like(metrics["loss"], bool)

"""Writing on: a network reads a beginning, and then what it has said itself, one step at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.types import Array, Model, PyTree

Draw = Callable[[Array, Array, Array], Array]


def continued(model: Model, params: PyTree, key: Array, prompt: Array, steps: int, draw: Draw) -> Array:
    """The prompt and `steps` inputs that the network adds: n of them cost n steps, whatever the prompt's length.

    Args:
        model: a Model that reads in one direction and answers at every step.
        params: its parameters.
        key: of the draws.
        prompt: [T, B, ...], T at least 1.
        steps: how many to add, at least 1.
        draw: (key, outputs [B, O], inputs [B, ...] that they answer) -> the next inputs [B, ...].

    Returns:
        [T + steps, B, ...].
    """

    def step(state: tuple[PyTree, Array], number: Array) -> tuple[tuple[PyTree, Array], Array]:
        carry, inputs = state
        outputs, carry = model.apply(params, inputs[None], carry=carry)
        inputs = draw(jax.random.fold_in(key, number), outputs[0], inputs)
        return (carry, inputs), inputs

    outputs, carry = model.apply(params, prompt)
    first = draw(jax.random.fold_in(key, 0), outputs[-1], prompt[-1])
    _, added = jax.lax.scan(step, (carry, first), jnp.arange(1, steps))
    return jnp.concatenate([prompt, first[None], added])

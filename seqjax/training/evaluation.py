"""Loss and score: on fresh samples of a synthetic task, on the whole test split of real data."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.data.streamed import count_of, pick
from seqjax.models.stack import first_carries
from seqjax.training.stream import cut
from seqjax.types import Array, Batch, Model, PyTree, Task


def evaluate(
    task: Task, model: Model, params: PyTree, test: PyTree, eval_size: int, key: Array | None = None
) -> dict[str, Array]:
    """'loss' and 'score' of a model's parameters, dropout off.

    Of a text the state is carried from window to window in eval_size parts side by side.

    Args:
        task: the Task.
        model: the Model.
        params: of the model.
        test: task.examples.test, or ().
        eval_size: sequences in the fresh sample; of real data, sequences taken at a time.
        key: of the fresh sample; of real data, none.
    """

    def measure(batch: Batch) -> dict[str, Array]:
        outputs, _ = model.apply(params, batch.inputs, batch.lengths)
        return {"loss": task.loss(outputs, batch), "score": task.score(outputs, batch)}

    def follow(carry: PyTree, number: Array) -> tuple[PyTree, tuple[dict[str, Array], Array]]:
        """Window `number` of each part of a text, and those after it."""
        places = jnp.arange(taken) * each_part + number
        here, following = (jnp.minimum(place, count - 1) for place in (places, places + 1))
        batch = task.examples.batch(pick(test, here, following))
        batch = batch._replace(mask=batch.mask * (places < count))
        outputs, carry = model.apply(params, batch.inputs, batch.lengths, carry=carry)
        measured = {"loss": task.loss(outputs, batch), "score": task.score(outputs, batch)}
        return carry, (measured, jnp.sum(batch.mask))

    if task.examples is None:
        return measure(task.sample(key, eval_size))
    count = count_of(test)
    taken = min(eval_size, count)
    if task.examples.streams:
        each_part = -(-count // taken)
        _, found = jax.lax.scan(follow, first_carries(model.layers(params), taken), jnp.arange(each_part))
        return _weighted(*found)
    order = None if task.examples.steps is None else jnp.argsort(task.examples.steps(test))

    def one(start: Array) -> tuple[dict[str, Array], Array]:
        places = start + jnp.arange(taken)
        here, following = (jnp.minimum(each, count - 1) for each in (places, places + taken))
        picked = pick(test, here, following) if order is None else pick(test, order[here])

        def measured(batch: Batch) -> tuple[dict[str, Array], Array]:
            mask = batch.mask * (places < count)  # the last group is filled up with what does not count
            return measure(batch._replace(mask=mask)), jnp.sum(mask)

        return cut(measured, task.examples, picked, every=3)

    return _weighted(*jax.lax.map(one, jnp.arange(0, count, taken)))


def _weighted(each: dict[str, Array], weights: Array) -> dict[str, Array]:
    """The mean of what was measured in groups."""
    return jax.tree.map(lambda values: jnp.sum(values * weights) / jnp.sum(weights), each)

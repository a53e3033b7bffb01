"""Loss and score: on fresh samples of a synthetic task, on the whole test split of real data."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.data.streamed import count_of, pick
from seqjax.training.state import RunState
from seqjax.training.stream import cut
from seqjax.types import Array, Batch, Model, PyTree, Task


def evaluate(task: Task, model: Model, run: RunState, test: PyTree, eval_size: int) -> dict[str, Array]:
    """'loss' and 'score' of a run's parameters, dropout off.

    Args:
        task: the Task.
        model: the Model.
        run: the run; its key and step name the fresh sample.
        test: task.examples.test, or ().
        eval_size: sequences in the fresh sample; of real data, sequences taken at a time.
    """

    def measure(batch: Batch) -> dict[str, Array]:
        outputs, _ = model.apply(run.params, batch.inputs, batch.lengths)
        return {"loss": task.loss(outputs, batch), "score": task.score(outputs, batch)}

    if task.examples is None:
        return measure(task.sample(jax.random.fold_in(run.stream("eval"), run.step), eval_size))
    count = count_of(test)
    taken = min(eval_size, count)
    order = None if task.examples.steps is None else jnp.argsort(task.examples.steps(test))

    def one(start: Array) -> tuple[dict[str, Array], Array]:
        places = start + jnp.arange(taken)
        here, following = (jnp.minimum(each, count - 1) for each in (places, places + taken))
        picked = pick(test, here, following) if order is None else pick(test, order[here])

        def measured(batch: Batch) -> tuple[dict[str, Array], Array]:
            mask = batch.mask * (places < count)  # the last group is filled up with what does not count
            return measure(batch._replace(mask=mask)), jnp.sum(mask)

        return cut(measured, task.examples, picked, every=3)

    each, weights = jax.lax.map(one, jnp.arange(0, count, taken))
    return jax.tree.map(lambda values: jnp.sum(values * weights) / jnp.sum(weights), each)

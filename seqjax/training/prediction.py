"""What a trained run answers: on the whole test split, and on what a person types."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.streamed import count_of, pick
from seqjax.tasks.showing import length
from seqjax.training.checkpoint import Checkpoints
from seqjax.training.coding import digest, require_same
from seqjax.training.config import Config
from seqjax.training.preparing import Prepared, forms, prepare
from seqjax.training.state import NEVER
from seqjax.training.stream import first_steps
from seqjax.types import Array, Batch, PyTree, Task, UserError


def restore(directory: Path, run: int | None = 0, *, diverged: bool = True) -> tuple[Prepared, PyTree]:
    """What a run directory trained, and the parameters of its run of that number at the newest checkpoint.

    run: its number; None for the first that did not diverge, and for run 0 where all did.

    Where a split selects they are those of the evaluation at which its loss was least; of a run that diverged before
    any, those that it began with; where none selects, those before the step at which it diverged.

    diverged: whether a run that diverged before any evaluation was selected is restored too

    Raises:
        UserError: no run directory of `experiments.train`, no checkpoint yet, or no such run; data that have changed
            since, so that words, labels or units have other numbers; diverged=False, and a run that did.
    """
    try:
        described = json.loads((directory / "config.json").read_text())
        config = Config(**described["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        runs = sorted(path.parent for path in directory.glob("*/config.json"))
        inside = f"; one in it is {str(runs[0])!r}" if runs else ""
        expected = f"expected a run directory, as experiments.train writes it{inside}"
        raise UserError(f"{str(directory)!r}: {expected}") from error
    config = config._replace(learning_rates=tuple(config.learning_rates))
    if run is not None and not 0 <= run < len(config.runs):
        raise UserError(f"--run={run}; {str(directory)!r} has runs 0 to {len(config.runs) - 1}")
    prepared = prepare(config, "run=1,map")
    require_same(described.get("task"), digest(prepared.task), repr(str(directory)))
    if not (directory / "checkpoints").is_dir():
        raise UserError(f"{str(directory)!r} has no checkpoint yet")
    checkpoints = Checkpoints(directory / "checkpoints", read_only=True)
    try:
        found = checkpoints.latest(*forms(prepared))
    finally:
        checkpoints.close()
    if found is None:
        raise UserError(f"{str(directory)!r} has no checkpoint yet")
    runs = found[1]["runs"]
    lost = np.asarray(runs["diverged_at"][: len(config.runs)]) != NEVER
    if "chosen" in runs:
        lost &= np.isinf(runs["chosen"]["loss"][: len(config.runs)])
    run = int(np.argmin(lost)) if run is None else run
    if lost[run] and not diverged:
        sound = ", ".join(map(str, np.flatnonzero(~lost))) or "none here"
        at = f"diverged at step {runs['diverged_at'][run]}"
        raise UserError(f"--run={run} of {str(directory)!r} {at}; expected a run that did not: {sound}")
    return prepared, jax.tree.map(lambda leaf: leaf[run], runs.get("chosen", runs)["params"])


def answers(prepared: Prepared, params: PyTree, examples: PyTree, at_a_time: int = 64) -> Iterator[tuple[Batch, Array]]:
    """Batches of examples, those of like length together, and what the model answers to each, as NumPy arrays."""
    source, count = prepared.eval_task.examples, count_of(examples)
    order = np.arange(count) if source.steps is None else np.argsort(np.asarray(source.steps(examples)), kind="stable")
    answer = jax.jit(answering(prepared))
    for start in range(0, count, at_a_time):
        picked = pick(examples, order[start : start + at_a_time])
        batch = source.batch(picked)
        if source.steps is not None:
            needed = int(np.max(np.asarray(source.steps(picked))))
            batch = first_steps(batch, min([steps for steps in source.cuts if steps >= needed] or [needed]))
        yield jax.device_get((batch, answer(params, batch)))


def in_parts(batch: Batch, at_a_time: int = 64) -> Iterator[Batch]:
    """The sequences of a batch, so many at a time."""
    axis, count = batch.mask.ndim - 1, batch.mask.shape[-1]
    for start in range(0, count, at_a_time):
        part = slice(start, start + at_a_time)
        yield Batch(
            jax.tree.map(lambda leaf, part=part: leaf[:, part], batch.inputs),
            batch.targets[(slice(None),) * axis + (part,)],
            batch.mask[..., part],
            None if batch.lengths is None else batch.lengths[part],
        )


def answering(prepared: Prepared) -> Callable[[PyTree, Batch], Array]:
    """(params, batch) -> answers as the batch's targets: what the model decodes, or what the task reads off it."""
    model, read_off = prepared.model, prepared.eval_task.answer

    def answer(params: PyTree, batch: Batch) -> Array:
        if model.decode is not None:
            return model.decode(params, batch.inputs, batch.lengths)
        outputs, _ = model.apply(params, batch.inputs, batch.lengths)
        return jnp.argmax(outputs, -1) if read_off is None else read_off(outputs, batch)

    return answer


def graded(task: Task, answered: list[tuple[Batch, Array]]) -> dict[str, float]:
    """The task's grade of all the answers to batches of examples. Raises UserError where it has none."""
    if task.grade is None or task.spell is None:
        raise UserError("the task has no grade of its own; its score is in result.json and in the report")
    truth, said, steps = [], [], []
    for batch, given in answered:
        for n in range(batch.mask.shape[-1]):
            truth.append(task.spell(batch, batch.targets, n))
            said.append(task.spell(batch, given, n))
            steps.append(length(batch, n))
    return task.grade(truth, said, steps)

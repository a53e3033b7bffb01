"""From a configuration to its task and its model; errors begin with the flag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from seqjax import cells, data, spec, tasks
from seqjax.cells.carries import require_floats
from seqjax.data.streamed import Streamed
from seqjax.models import encoder_decoder, sequence_model
from seqjax.models.stack import first_carries
from seqjax.training.config import Config
from seqjax.training.memory import shapes
from seqjax.training.own_task import require_whole
from seqjax.training.penalty import make_penalty
from seqjax.types import Cell, Model, PyTree, Task, UserError

LOOKED_AT = 64  # examples that stay on disk
WRITER_EMBEDDING = 128  # of a network that writes, where --embedding gives none


def build_cell(text: str) -> Cell:
    """The Cell a spec names; errors begin with the flag."""
    return _named("--cell", text, lambda: spec.build(text, [cells], Cell))


def build_task(text: str) -> Task:
    """The Task a spec names, synthetic or of real data; errors begin with the flag. A user's own is checked."""
    return _looked_through(_task(text, "--task"), text, "--task")


def _task(text: str, flag: str) -> Task:
    return _named(flag, text, lambda: spec.build(text, [tasks, data], Task))


def _looked_through(task: Task, text: str, flag: str) -> Task:
    """The task itself; one from outside the package is held against what `Task` says."""
    if "." in spec.parse(text).name:
        _named(flag, text, lambda: require_whole(task))
    return task


def build_eval_task(config: Config, task: Task) -> Task:
    """The Task that evaluation draws from: the one trained on, or --eval_task.

    Raises UserError where a network for the one cannot answer the other, or is not asked the same.
    """
    if config.eval_task is None:
        return task
    other = _task(config.eval_task, "--eval_task")
    _require_alike(f"--eval_task={config.eval_task!r}", other, config, task)
    return _looked_through(other, config.eval_task, "--eval_task")


def _require_alike(flag: str, other: Task, config: Config, task: Task) -> None:
    """Raise UserError where a network for a task cannot answer the other."""
    for what, ours, theirs in (
        ("input size", task.input_size, other.input_size),
        ("output size", task.output_size, other.output_size),
        ("tokens as inputs", task.tokens, other.tokens),
        ("readout", task.readout, other.readout),
        ("loss", task.loss.__qualname__, other.loss.__qualname__),
    ):
        if ours != theirs:
            raise UserError(
                f"{flag}: its {what} is {theirs}, that of --task={config.task!r} is {ours}; "
                "expected a task whose inputs and outputs are the same"
            )
    if task.coding != other.coding:
        raise UserError(
            f"{flag}: its symbols or units, learned from its own rows to train on, are not those of "
            f"--task={config.task!r}; expected a task that trains on the same rows"
        )


def build_select_task(config: Config, eval_task: Task) -> Task | None:
    """The task that is measured, on the split that --select_on names; None where it names none.

    Raises UserError where the task has no other split, or is measured on this one, or where its data have one split,
    of which the same rows are held out by either name.
    """
    if config.select_on is None:
        return None
    measured = spec.parse(config.eval_task or config.task)
    if measured.arguments.get("tested_on", "test") == config.select_on:
        raise UserError(f"--select_on={config.select_on!r} is the split that is measured; expected another")
    if eval_task.examples is None:
        raise UserError(f"--select_on={config.select_on!r} is a split of data, and --task={config.task!r} draws its "
                        "samples anew; leave it out")  # fmt: skip
    chosen = spec.Spec(measured.name, measured.arguments | {"tested_on": config.select_on})
    found = _named("--select_on", config.select_on, lambda: spec.build(str(chosen), [tasks, data], Task))
    _require_alike(f"--select_on={config.select_on!r}", found, config, eval_task)
    if _equal(found.examples.test, eval_task.examples.test):
        raise UserError(
            f"--select_on={config.select_on!r} would be the rows that are measured, as the data have no split of that "
            "name, or one of the same rows; expected data with another"
        )
    return found


def _equal(one: PyTree, other: PyTree) -> bool:
    """Whether two sets of examples are the same; of what stays on disk some are looked at, from first to last."""
    both = [one, other]
    if isinstance(one, Streamed) and isinstance(other, Streamed):
        if one.count != other.count:
            return False
        numbers = np.unique(np.linspace(0, one.count - 1, LOOKED_AT).astype(np.int64))
        both = [each.read(numbers) for each in both]
    leaves = [jax.tree.leaves(each) for each in both]
    return len(leaves[0]) == len(leaves[1]) and all(map(np.array_equal, *leaves))


def build(config: Config) -> tuple[Task, Model]:
    """The task and the model of a Config. Raises UserError naming the flag that does not fit the others."""
    task, cell = build_task(config.task), build_cell(config.cell)
    if config.character_width != Config._field_defaults["character_width"] and not task.characters:
        raise UserError(f"--character_width={config.character_width} is of the characters of words, and "
                        f"--task={config.task!r} has none: leave it out")  # fmt: skip
    model = _writer(config, task, cell) if task.readout == "decode" else _reader(config, task, cell)
    began = lambda key: first_carries(model.layers(model.init(key)), 1)[0][0]  # noqa: E731
    _named("--cell", config.cell, lambda: require_floats(shapes(began, jax.random.key(0))))
    if config.penalty is not None:
        _require_penalty(config, task, model)
    return task, model


def _require_penalty(config: Config, task: Task, model: Model) -> None:
    if task.examples is not None and task.examples.streams:
        reason = "is measured from a fresh state, and --task reads a text whose state is carried on"
        raise UserError(f"--penalty={config.penalty!r} {reason}; leave it out, or read windows with carried=False")
    penalty = make_penalty(config.penalty)
    run = lambda key: penalty(model, model.init(key), task.sample(key, 1), task.loss)  # noqa: E731
    _named("--penalty", config.penalty, lambda: jax.eval_shape(run, jax.random.key(0)))


def _reader(config: Config, task: Task, cell: Cell) -> Model:
    """The model of a task that is answered step by step, or at the end."""
    for name in ("attention", "beam"):
        if getattr(config, name) != Config._field_defaults[name]:
            wants = f"--task={config.task!r} asks for nothing to be written: leave it out"
            raise UserError(f"--{name}={getattr(config, name)} is of a network that writes; {wants}")
    model = sequence_model(
        cell,
        task.input_size,
        task.output_size,
        layers=config.layers,
        bidirectional=config.bidirectional,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        readout=task.readout,
        tokens=task.tokens,
        embedding=config.embedding,
        characters=task.characters,
        character_width=config.character_width,
        image=task.image,
        around_scale=config.around_scale,
        strategy=config.strategy,
    )
    if config.strategy != "auto":  # not every one is for every cell
        run = lambda key: model.apply(model.init(key), task.sample(key, 1).inputs)  # noqa: E731
        _named("--strategy", config.strategy, lambda: jax.eval_shape(run, jax.random.key(0)))
    return model


def _writer(config: Config, task: Task, cell: Cell) -> Model:
    """The model of a task whose answer is a sequence of its own: symbols, at most as many as the longest to train on
    has, or as many vectors as are asked for."""
    if config.around_scale is not None:
        raise UserError(f"--around_scale={config.around_scale}: --task={config.task!r} writes, by parts that begin as "
                        "Flax has them; leave it out")  # fmt: skip
    if config.beam != 1 and not task.tokens:
        raise UserError(f"--beam={config.beam} is of symbols, and --task={config.task!r} writes vectors; leave it out")
    return encoder_decoder(
        cell,
        task.input_size,
        task.output_size,
        embedding=WRITER_EMBEDDING if config.embedding is None else config.embedding,
        layers=config.layers,
        bidirectional=config.bidirectional,
        attention_kind=config.attention,
        dropout=config.dropout,
        input_dropout=config.input_dropout,
        beam_width=config.beam,
        longest=task.examples.cuts[-1] if task.tokens else 1,
        vectors=not task.tokens,
        strategy=config.strategy,
    ).model


def _named(flag: str, text: str, make: Callable[[], Any]) -> Any:
    with spec.prefixed(f"{flag}={text!r}"):
        return make()

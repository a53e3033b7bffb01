"""A task of a user's own, held against what `Task` says of one: by shapes and kinds alone, nothing is drawn."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.models.stack import SIZE
from seqjax.types import Array, Batch, Task, UserError

INTEGER, FLOAT = (jnp.integer, "integers"), (jnp.floating, "floating point")


def require_whole(task: Task) -> None:
    """Raise UserError where a task's readout, its batches, its loss, score or `solved` are not as they are to be."""
    readouts = typing.get_args(typing.get_type_hints(Task)["readout"])
    if task.readout not in readouts:
        raise UserError(f"readout={task.readout!r}; expected one of {', '.join(map(repr, readouts))}")
    batch = jax.eval_shape(lambda key: task.sample(key, SIZE), jax.random.key(0))
    if not isinstance(batch, Batch):
        raise UserError(f"sample gives a {type(batch).__name__}; expected a seqjax.Batch")
    if task.readout != "decode":
        _require_batch(task, batch)
        steps = () if task.readout == "last" else np.shape(batch.inputs)[:1]
        outputs = jax.ShapeDtypeStruct((*steps, SIZE, task.output_size), np.float32)
        for name in ("loss", "score"):
            found = _traced(name, getattr(task, name), outputs, batch)
            if getattr(found, "shape", None) != ():
                raise UserError(f"{name} of {SIZE} sequences gives {_told(found)}; expected one number, their mean")
    number = jax.ShapeDtypeStruct((), np.float32)
    _traced("solved", task.solved, {"loss": number, "score": number})


def _require_batch(task: Task, batch: Batch) -> None:
    """Raise UserError where a part of a batch has another shape, or is of another kind."""
    steps, *_ = np.shape(batch.inputs) or (1,)
    wide = [] if task.tokens and not task.characters else [None] if task.tokens or task.image else [task.input_size]
    _require("inputs", batch.inputs, [steps, SIZE, *wide], INTEGER if task.tokens else FLOAT)
    # answers that are aligned with no step, as a CTC's, are not as many as steps
    _require("mask", batch.mask, [SIZE] if task.readout == "last" else [None, SIZE])
    places = list(batch.mask.shape)
    if list(np.shape(batch.targets)[: len(places)]) != places:
        raise UserError(f"{_sampled('targets', batch.targets)}; expected axes {places} and any after them")
    if batch.lengths is not None:
        _require("lengths", batch.lengths, [SIZE], INTEGER)


def _require(name: str, leaf: Array, shape: Sequence[int | None], kind: tuple[Any, str] | None = None) -> None:
    """Raise UserError unless the leaf is of that shape, None standing for any number, and kind."""
    found = list(np.shape(leaf))
    fits = len(found) == len(shape) and all(b in (None, a) for a, b in zip(found, shape))
    if not fits or (kind and not jnp.issubdtype(jnp.result_type(leaf), kind[0])):
        words = "" if kind is None else f"{kind[1]} "
        axes = ", ".join("any" if axis is None else str(axis) for axis in shape)
        raise UserError(f"{_sampled(name, leaf)}; expected {words}[{axes}]")


def _traced(name: str, function: Callable[..., Any], *given: Any) -> Any:
    try:
        return jax.eval_shape(function, *given)
    except jax.errors.ConcretizationTypeError as error:
        how = "which is a compiled program's, as metrics['loss'] < 0.01 is and `if`, `and`, `float` are not"
        raise UserError(f"{name} asks for a number's value before there is one; expected arithmetic, {how}") from error


def _sampled(name: str, leaf: Any) -> str:
    return f"sample of {SIZE} sequences gives {name} of {_told(leaf)}"


def _told(leaf: Any) -> str:
    """'float32 [13, 1]'."""
    return f"{jnp.result_type(leaf)} {list(np.shape(leaf))}" if hasattr(leaf, "shape") else type(leaf).__name__

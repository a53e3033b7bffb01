"""What a program must hold at least, from its shapes alone, against the memory that is there."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import jax

from seqjax.data.streamed import count_of
from seqjax.gradients.adjoints import model_adjoints, record
from seqjax.training import online
from seqjax.training.config import Config
from seqjax.training.layout import Layout
from seqjax.training.program import Program
from seqjax.types import Batch, Model, PyTree, Task, UserError

CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
ADVICE = {
    "state": "a smaller cell, or fewer seeds and learning rates",
    "batch": "shorter sequences, or a smaller --batch_size",
    "gradient": "shorter sequences, a smaller --batch_size, or --strategy=checkpointed",
    "probe": "shorter sequences, or a smaller --probe_size",
    "influence": "a smaller cell, or a smaller --batch_size",
    "evaluation": "shorter sequences, or a smaller --eval_size",
}


def at_hand() -> int:
    """Bytes of a device's memory; on a CPU all of the machine's, or what the process's group may have."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return int((device.memory_stats() or {}).get("bytes_limit", 2**63))
    bounds = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # not there, or 'max'
            bounds.append(int(Path(path).read_text()))
    return min(bounds)


def require(config: Config, task: Task, eval_task: Task, model: Model, program: Program, layout: Layout) -> None:
    """Refuse, before anything of its size is made, what memory cannot hold.

    Counted are parameters, optimizer and gradients, a batch and what the gradient keeps of it (the
    residuals of jax.vjp; online, the influence matrices), a batch of the probe with its carries and
    adjoints, and a batch of evaluation with its outputs, for the runs that a device holds and works on
    at a time. XLA's own temporaries come on top, so that what is refused could not have run; what is
    not refused may still be too large.

    Raises:
        UserError: the estimate, what of it is largest, and what would make it smaller.
    """
    each = len(layout.slots) // layout.mesh.shape["run"]  # runs that a device holds
    sharing = layout.mesh.size // jax.process_count() if jax.devices()[0].platform == "cpu" else 1
    held, at_once = sharing * each, sharing * (each if layout.by == "vmap" else 1)
    parts, there = layout.mesh.shape["data"], at_hand()

    def check(**needs: float) -> None:
        if sum(needs.values()) > there:
            largest = max(needs, key=needs.__getitem__)
            words = ", ".join(f"{name} {_words(size)}" for name, size in needs.items())
            raise UserError(
                f"--cell={config.cell!r} on --task={config.task!r} needs at least {_words(sum(needs.values()))} of "
                f"memory ({words}), and there are {_words(there)}; expected {ADVICE[largest]}"
            )

    run = shapes(program.init, *(jax.ShapeDtypeStruct((), kind) for kind in ("int32", "float32", "bool")))
    params, state = size(run.params), held * size(run) + at_once * size(run.params)
    check(state=state)
    wanted = (
        (task, config.batch_size),
        (eval_task, _at_most(config.eval_size, eval_task, "test")),
        (task, _at_most(config.probe_size, task, "train")),
    )
    batch, asked, probed = (
        shapes(lambda key, one=one, count=count: one.sample(key, count), jax.eval_shape(lambda: jax.random.key(0)))
        for one, count in wanted
    )
    check(state=state, batch=at_once * size(batch))
    answers = shapes(lambda params, batch: model.apply(params, batch.inputs, batch.lengths)[0], run.params, asked)
    check(state=state, evaluation=at_once * (size(asked) + size(answers)))
    if config.online:
        reached = shapes(lambda params: online.start(model, params, config.batch_size), run.params)
        check(state=state, batch=at_once * size(batch), influence=at_once * size(reached))

    def kept(function: Callable[..., PyTree], batch: Batch) -> int:
        """Bytes of what a way back through a batch keeps; 0 where even a number a parameter and step fits."""
        steps = math.prod(jax.tree.leaves(batch.inputs)[0].shape[:2])
        if state + at_once * steps * (params + 40_000) <= there:
            return 0
        return at_once * size(shapes(lambda params, batch: function(task, model, params, batch), run.params, batch))

    if not config.online:
        check(state=state, batch=at_once * size(batch), gradient=kept(_residuals, batch) / parts)
    check(state=state, probe=at_once * size(probed) + kept(_tapes, probed))


def _at_most(count: int, task: Task, split: str) -> int:
    """So many sequences, or as many as the split holds where these are fewer."""
    return count if task.examples is None else min(count, count_of(getattr(task.examples, split)))


def _tapes(task: Task, model: Model, params: PyTree, batch: Batch) -> PyTree:
    """The carries of every step, and the gradient with respect to each."""
    tapes = record(model.layers(params), model.encode(params, batch.inputs), batch.lengths)
    return tapes, model_adjoints(model, params, batch, task.loss)


def _residuals(task: Task, model: Model, params: PyTree, batch: Batch) -> PyTree:
    return jax.vjp(lambda p: task.loss(model.apply(p, batch.inputs, batch.lengths)[0], batch), params)[1]


def size(tree: PyTree) -> int:
    """Bytes of all arrays, of shapes alone too; numbers of 64 bits are counted as the 32 that they will have."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "shape")]
    return sum(math.prod(leaf.shape) * min(leaf.dtype.itemsize, 4) for leaf in leaves)


def shapes(function: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
    """Shapes of the results, counted with 64 bits where 32 are too few. Raises UserError where 64 are too few too."""
    try:
        with warnings.catch_warnings():  # of 64 bits that are cut to 32
            warnings.simplefilter("ignore")
            return jax.eval_shape(function, *arguments)
    except (OverflowError, ValueError) as error:
        if isinstance(error, ValueError) and "overflow" not in str(error):
            raise
        try:
            with jax.enable_x64(True):
                return jax.eval_shape(function, *arguments)
        except (OverflowError, TypeError, ValueError) as again:
            told = str(again).splitlines()[0].removesuffix(".")
            raise UserError(f"sizes beyond what can be counted: {told}; expected smaller ones") from again


def _words(size: float) -> str:
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= 1000
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size:.3g} PB"

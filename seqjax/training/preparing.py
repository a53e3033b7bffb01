"""From a configuration to a program that can be trained, and its runs before their first step."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import numpy as np

from seqjax.spec import parse
from seqjax.training import memory
from seqjax.training.building import build, build_eval_task, build_select_task
from seqjax.training.config import Config, check
from seqjax.training.layout import Layout, make_layout
from seqjax.training.program import Program, make_program
from seqjax.training.state import RunState, to_keep
from seqjax.types import Model, PyTree, Task

# Weights times sequences of a batch: below, a CPU's time goes into the many small operations of a time step, which
# runs side by side share; above, into its products, which are slower in a batch of matrices (docs/speed.md).
SMALL = 20_000


class Prepared(NamedTuple):
    """A program that can be trained: everything a user can get wrong has been looked at.

    `compiled` is the program, all but `init` for all runs along the layout, compiled when they are first called: who
    trains twice with one Prepared, as a run that is resumed, compiles once.
    """

    config: Config
    task: Task
    eval_task: Task
    model: Model
    program: Program
    layout: Layout
    compiled: Program


def prepare(config: Config, mesh: str = "auto") -> Prepared:
    """Build task, model and program for the devices that `mesh` names. Raises UserError; nothing is written."""
    check(config)
    task, model = build(config)
    eval_task = build_eval_task(config, task)
    select_task = build_select_task(config, eval_task)
    branches = any(each and each.examples and each.examples.cuts for each in (task, eval_task, select_task))
    layout = make_layout(mesh, len(config.runs), config.batch_size, "map" if branches else _usual_layout(config, model))
    program = make_program(config, task, eval_task, model, layout.mesh.shape["data"], select_task)
    memory.require(config, task, eval_task, model, program, layout)
    over = {name: layout.over(getattr(program, name)) for name in ("train", "evaluate", "probe")}
    compiled = program._replace(init=jax.jit(program.init), **over)
    return Prepared(config, task, eval_task, model, program, layout, compiled)


def initialize(prepared: Prepared) -> RunState:
    """The runs before their first step, as they lie on the run axis.

    They are made one by one. Orthogonal matrices need QR decompositions, and XLA on a CPU can wait for
    itself for ever where several batches of them are decomposed at a time, as under vmap or on two
    host devices (seen with JAX 0.10.2 on two cores).
    """
    config, slots = prepared.config, prepared.layout.slots
    made = []
    for slot in slots:
        run = config.runs[max(slot, 0)]
        made.append(
            jax.device_get(prepared.compiled.init(np.int32(run["seed"]), np.float32(run["learning_rate"]), slot >= 0))
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *made)


def forms(prepared: Prepared) -> list[PyTree]:
    """What a checkpoint of the run directory may hold, as zeros: after an evaluation, and between two."""
    count = len(prepared.config.runs)
    one = jax.eval_shape(prepared.program.init, np.int32(0), np.float32(0), np.bool_(True))
    runs = jax.tree.map(lambda leaf: np.zeros((count, *leaf.shape), leaf.dtype), one)
    amid = runs.replace(recent=runs.recent | {"steps": np.ones(count, np.int32)})
    return [{"runs": to_keep(each), "seconds": np.float64(0)} for each in (runs, amid)]


def _usual_layout(config: Config, model: Model) -> str:
    """How runs that share a device lie on it: 'vmap' on an accelerator, but for cuDNN, and on a CPU where small.

    A program that branches, which chooses while it runs among several that it holds (batches cut to their
    length), is not asked: side by side, all of these would be computed.
    """
    if jax.default_backend() != "cpu":
        return "map" if parse(config.strategy)[0] == "cudnn" else "vmap"
    params = memory.shapes(model.init, jax.eval_shape(lambda: jax.random.key(0)))
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return "vmap" if len(config.runs) > jax.device_count() and config.batch_size * numbers < SMALL else "map"

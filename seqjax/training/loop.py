"""Train one program from its configuration to its run directory, from the start or from where it stopped."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from seqjax import spec
from seqjax.training import memory, processes, record
from seqjax.training.checkpoint import Checkpoints
from seqjax.training.config import Config, build, build_eval_task, check
from seqjax.training.layout import Layout, make_layout
from seqjax.training.lock import hold
from seqjax.training.program import Program, make_program
from seqjax.training.record import NoRecords, Records
from seqjax.training.signals import Preempted
from seqjax.training.state import NEVER, RunState
from seqjax.types import Model, PyTree, Task

Progress = Callable[[int, str], None]


class Prepared(NamedTuple):
    """A program that can be trained: everything a user can get wrong has been looked at."""

    config: Config
    task: Task
    eval_task: Task
    model: Model
    program: Program
    layout: Layout


def prepare(config: Config, mesh: str = "auto") -> Prepared:
    """Build task, model and program for the devices that `mesh` names. Raises UserError; nothing is written."""
    check(config)
    task, model = build(config)
    eval_task = build_eval_task(config, task)
    branches = any(each.examples and each.examples.cuts for each in (task, eval_task))
    layout = make_layout(mesh, len(config.runs), config.batch_size, branches)
    program = make_program(config, task, eval_task, model, layout.mesh.shape["data"])
    memory.require(config, task, eval_task, model, program, layout)
    return Prepared(config, task, eval_task, model, program, layout)


def train(
    prepared: Prepared,
    directory: Path,
    *,
    command: str,
    resume: bool = False,
    progress: Progress = lambda step, words: None,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Train, evaluate and probe; write everything to the run directory; give what result.json holds.

    With steps=0 only the gradient norms at initialization are taken, and there is no result.
    Of several processes, each of which calls this, the first writes, and all write to a checkpoint.

    Args:
        prepared: what `prepare` made.
        directory: the run directory.
        command: the command that a person typed, for the record.
        resume: continue a run directory of the same configuration: its final parameters are equal
            bit for bit, on a CPU, to those of a run that was never interrupted.
        progress: called with the step reached and a few words, once the directory is there and
            after every evaluation.
        stopping: asked before every chunk of eval_every steps; where it is true, of several processes in
            one of them, a checkpoint is written and the run left as it is, for --resume.

    Raises:
        Preempted: `stopping` was true.
        UserError: the directory exists and is not to be continued, is another run's, is in use by
            another process, or is read-only; there are checkpoints and none is sound.
    """
    config, layout = prepared.config, prepared.layout
    finished = directory / "result.json"

    def begin() -> dict[str, Any] | None:
        held.enter_context(hold(directory))
        record.create(directory, _description(prepared, command), resume)
        return record.read_json(finished) if finished.exists() else None

    def end() -> dict[str, Any]:
        result = {"wall_seconds": round(seconds, 2), "runs": _outcomes(config, state, layout, directory)}
        record.write_json(finished, result)
        return record.plain(result)

    if processes.any_of(stopping()):
        raise Preempted("stopped before its first step")
    with contextlib.ExitStack() as held:
        before = processes.by_first(begin)
        if before is not None:
            progress(config.steps, "finished before")
            return before
        layout.meet()
        with contextlib.ExitStack() as stack:
            seconds, state = _train(prepared, directory, stack, progress, stopping)
        if not config.steps:
            return None
        result = processes.by_first(end)
    progress(config.steps, "")
    return result


def _train(
    prepared: Prepared,
    directory: Path,
    stack: contextlib.ExitStack,
    progress: Progress,
    stopping: Callable[[], bool],
) -> tuple[float, RunState]:
    """The loop over chunks; the stack closes the files, also where an error ends it. Gives seconds and `_ends`."""
    config, program, layout = prepared.config, prepared.program, prepared.layout
    progress(0, "compiling")
    began = time.monotonic()
    chunk, probe = layout.over(program.chunk), layout.over(program.probe)
    state = initialize(prepared)
    done, seconds, saved = 0, 0.0, None
    if config.steps:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(directory / "checkpoints")))
        saved = checkpoints.latest(_saved(state, layout, seconds))
    if saved is not None:
        done, restored = saved
        seconds = float(restored["seconds"])
        state = _placed(restored["runs"], layout)

    files = Records(directory, config, None if saved is None else done) if processes.is_first() else NoRecords()
    stack.callback(files.close)
    state, data = layout.put(state), layout.put(program.data, shared=True)
    ends = _ends(state, layout)
    going = ends.going(config.stop_when_solved)
    if done == 0:
        files.write_gradients(_probed(probe, state, data, layout, going))
    while done < config.steps and going.any():
        if processes.any_of(stopping()):
            checkpoints.save(done, _saved(state, layout, seconds + time.monotonic() - began))
            raise Preempted(f"stopped at step {done} of {config.steps}, with a checkpoint")
        steps = min(config.eval_every, config.steps - done)
        state, measured = chunk(state, np.int32(steps), data)
        done += steps
        lines = _measured(measured, done, layout, going)
        files.write_metrics(lines)
        ends = _ends(state, layout)
        going = ends.going(config.stop_when_solved)
        if _passes(config.probe_every, done, steps):
            files.write_gradients(_probed(probe, state, data, layout, going))
        if _passes(config.checkpoint_every, done, steps) and going.any():
            checkpoints.save(done, _saved(state, layout, seconds + time.monotonic() - began))
        progress(done, _words(ends, layout, lines))
    seconds += time.monotonic() - began
    if config.steps:
        files.write_gradients(_probed(probe, state, data, layout, layout.slots >= 0))
        checkpoints.save(done, _saved(state, layout, seconds))
    return seconds, ends


def _ends(state: RunState, layout: Layout) -> RunState:
    """How far each run is, as NumPy arrays; without what it has learned."""
    return layout.get(state.replace(params=(), opt_state=()))


def _measured(measured: PyTree, done: int, layout: Layout, which: np.ndarray) -> list[dict[str, Any]]:
    """A line of metrics.jsonl for each of the places."""
    values = layout.get(measured)
    return [
        {"step": done, "run": int(layout.slots[place])} | {name: float(each[place]) for name, each in values.items()}
        for place in _in_order(which, layout)
    ]


def _probed(probe: Callable, state: RunState, data: PyTree, layout: Layout, which: np.ndarray) -> list[dict[str, Any]]:
    """A line of gradients.jsonl for each of the places, at the step that its run has reached."""
    if not which.any():
        return []
    found, steps = layout.get((probe(state, data), state.step))
    return [
        {
            "step": int(steps[place]),
            "run": int(layout.slots[place]),
            "log10_norm": _rounded(found.norms.log10_norm, place),
            "first_to_last": round(float(found.norms.first_to_last[place]), 4),
            "gates": _rounded(found.gates, place),
            "spectral_radius": _rounded(found.spectral_radius, place),
            "exponent": _rounded(found.exponent, place),
        }
        for place in _in_order(which, layout)
    ]


def _in_order(which: np.ndarray, layout: Layout) -> list[int]:
    """The chosen places in the order of their runs, whatever the mesh."""
    return sorted(np.flatnonzero(which), key=lambda place: layout.slots[place])


def _rounded(named: dict[str, np.ndarray], place: int) -> dict[str, Any]:
    """name -> the numbers of one place of the run axis, to four digits after the point."""
    return {name: np.round(np.asarray(each[place], float), 4).tolist() for name, each in named.items()}


def _description(prepared: Prepared, command: str) -> dict[str, Any]:
    config, task, eval_task = prepared.config, prepared.task, prepared.eval_task
    named = spec.parse(config.task)
    shapes = jax.eval_shape(lambda: task.sample(jax.random.key(0), 1))
    params = jax.eval_shape(prepared.model.init, jax.random.key(0))
    return {
        "kind": "train",
        "command": command,
        "config": config._asdict(),
        "task": {
            "name": named.name,
            "length": jax.tree.leaves(shapes.inputs)[0].shape[0],
            "baseline": eval_task.baseline,
            **({} if eval_task.optimum is None else {"optimum": eval_task.optimum}),
            "readout": task.readout,
            "criterion": eval_task.criterion + (f", on {config.eval_task}" if config.eval_task else ""),
        },
        "runs": config.runs,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        "environment": record.environment() | {"mesh": dict(prepared.layout.mesh.shape), "by": prepared.layout.by},
    }


def initialize(prepared: Prepared) -> RunState:
    """The runs before their first step, as they lie on the run axis.

    They are made one by one. Orthogonal matrices need QR decompositions, and XLA on a CPU can wait for
    itself for ever where several batches of them are decomposed at a time, as under vmap or on two
    host devices (seen with JAX 0.10.2 on two cores).
    """
    config, slots = prepared.config, prepared.layout.slots
    init = jax.jit(prepared.program.init)
    made = []
    for slot in slots:
        run = config.runs[max(slot, 0)]
        made.append(jax.device_get(init(np.int32(run["seed"]), np.float32(run["learning_rate"]), slot >= 0)))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *made)


def _saved(state: RunState, layout: Layout, seconds: float) -> PyTree:
    """The runs in their own order, which does not depend on the layout."""
    order = np.argsort(layout.slots, kind="stable")[np.sum(layout.slots < 0) :]
    return {"runs": jax.tree.map(lambda leaf: leaf[order], layout.get(state)), "seconds": np.float64(seconds)}


def _placed(runs: RunState, layout: Layout) -> RunState:
    placed = jax.tree.map(lambda leaf: np.asarray(leaf)[np.maximum(layout.slots, 0)], runs)
    return placed.replace(enabled=layout.slots >= 0)


def _passes(every: int, done: int, steps: int) -> bool:
    """Whether a multiple of `every` lies in the last `steps` steps."""
    return done // every > (done - steps) // every


def _words(state: RunState, layout: Layout, lines: list[dict[str, Any]]) -> str:
    losses = [line["loss"] for line in lines if math.isfinite(line["loss"])]
    solved = int(np.sum((np.asarray(state.solved_at) != NEVER) & (layout.slots >= 0)))
    loss = f"loss {np.median(losses):.4f}, " if losses else ""
    return f"{loss}{solved} of {np.sum(layout.slots >= 0)} solved"


def _outcomes(config: Config, state: RunState, layout: Layout, directory: Path) -> list[dict[str, Any]]:
    last: dict[int, dict[str, Any]] = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        found = json.loads(line)
        last[found["run"]] = found
    outcomes = []
    steps, solved_at, diverged_at = (np.asarray(v) for v in (state.step, state.solved_at, state.diverged_at))
    for number, run in enumerate(config.runs):
        place = int(np.flatnonzero(layout.slots == number)[0])
        solved, diverged = int(solved_at[place]), int(diverged_at[place])
        outcomes.append(
            run
            | {
                "status": "diverged" if diverged != NEVER else "solved" if solved != NEVER else "unsolved",
                "solved_at": None if solved == NEVER else solved,
                "diverged_at": None if diverged == NEVER else diverged,
                "steps": int(steps[place]),
                "loss": last[number]["loss"],
                "score": last[number]["score"],
            }
        )
    return outcomes

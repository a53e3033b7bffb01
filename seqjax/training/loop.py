"""Train one program from its configuration to its run directory, from the start or from where it stopped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqjax.training import processes, record
from seqjax.training.checkpoint import Checkpoints
from seqjax.training.config import Config
from seqjax.training.layout import Layout
from seqjax.training.lines import NoRecords, Records
from seqjax.training.lock import hold
from seqjax.training.preparing import Prepared, forms, initialize
from seqjax.training.program import Program
from seqjax.training.signals import Preempted
from seqjax.training.state import RunState, decided, to_keep
from seqjax.training.telling import description, in_words, measured_lines, outcomes, probed_lines
from seqjax.types import PyTree

Progress = Callable[[int, str], None]
STARTING = "compiling, and the first steps"
PIECE = 5.0  # seconds that a run trains before it tells how far it is, and heeds who asks it to stop


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
        progress: called with the step reached and a few words, once the directory is there, every few
            seconds of training and after every evaluation.
        stopping: asked every few seconds; where it is true, of several processes in one of them, a
            checkpoint is written and the run left as it is, for --resume.

    Raises:
        Preempted: `stopping` was true.
        UserError: the directory exists and is not to be continued, is another run's, is in use by
            another process, or is read-only; there are checkpoints and none is sound.
    """
    config, layout = prepared.config, prepared.layout
    finished = directory / "result.json"

    def begin() -> dict[str, Any] | None:
        held.enter_context(hold(directory))
        record.create(directory, description(prepared, command), resume)
        return record.read_json(finished) if finished.exists() else None

    def end() -> dict[str, Any]:
        result = {"wall_seconds": round(seconds, 2), "runs": outcomes(config, state, layout, directory)}
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
    """The loop over evaluations; the stack closes the files, also where an error ends it. Gives seconds and `_ends`."""
    config, program, layout = prepared.config, prepared.compiled, prepared.layout
    progress(0, STARTING)
    began = time.monotonic()
    state = initialize(prepared)
    done, seconds, saved, piece, words = 0, 0.0, None, 1, ""
    if config.steps:
        checkpoints = stack.enter_context(contextlib.closing(Checkpoints(directory / "checkpoints")))
        saved = checkpoints.latest(*forms(prepared))
    if saved is not None:
        done, restored = saved
        seconds = float(restored["seconds"])
        state = _placed(RunState(**{"recent": state.recent} | restored["runs"]), layout)

    files = Records(directory, config, None if saved is None else done) if processes.is_first() else NoRecords()
    stack.callback(files.close)
    state, data = layout.put(state), layout.put(program.data, shared=True)
    ends = _ends(state, layout)
    going = _going(config, ends, layout)
    if saved is None:
        files.write_gradients(probed_lines(program.probe, state, data, layout, going))
    while done < config.steps and going.any():
        before = done // config.eval_every * config.eval_every
        after = min(before + config.eval_every, config.steps)
        while done < after:
            if processes.any_of(stopping()):
                checkpoints.save(done, _saved(state, layout, seconds + time.monotonic() - began))
                raise Preempted(f"stopped at step {done} of {config.steps}, with a checkpoint")
            steps = min(piece, after - done)
            state, piece = _piece(program, state, data, steps, piece)
            done += steps
            if done < after:
                progress(done, words)
                if config.checkpoint_every < config.eval_every and _passes(config.checkpoint_every, done - steps, done):
                    checkpoints.save(done, _saved(state, layout, seconds + time.monotonic() - began))
        state, measured = program.evaluate(state, data)
        lines = measured_lines(measured, done, layout, going)
        files.write_metrics(lines)
        ends = _ends(state, layout)
        going = _going(config, ends, layout)
        if _passes(config.probe_every, before, done):
            files.write_gradients(probed_lines(program.probe, state, data, layout, going))
        if _passes(config.checkpoint_every, before, done) and going.any():
            checkpoints.save(done, _saved(state, layout, seconds + time.monotonic() - began))
        words = in_words(ends, layout, lines)
        progress(done, words)
    seconds += time.monotonic() - began
    if config.steps:
        files.write_gradients(probed_lines(program.probe, state, data, layout, layout.slots >= 0))
        checkpoints.save(done, _saved(state, layout, seconds))
    return seconds, ends


def _piece(program: Program, state: RunState, data: PyTree, steps: int, most: int) -> tuple[RunState, int]:
    """Train so many steps, of the `most` that were allowed; gives how many the next piece is allowed.

    These are as many as take PIECE seconds by this one's time, which in the first is mostly compilation, and at
    most twice as many as this one's.
    """
    began = time.monotonic()
    state = program.train(state, np.int32(steps), data)
    state.step.block_until_ready()
    pace = steps / max(time.monotonic() - began, 1e-9)
    return state, processes.by_first(lambda: max(1, min(2 * most, int(PIECE * pace))))


def _ends(state: RunState, layout: Layout) -> RunState:
    """How far each run is, as NumPy arrays; without what it has learned and what it carries."""
    return layout.get(state.replace(params=(), opt_state=(), carry=(), chosen=()))


def _going(config: Config, ends: RunState, layout: Layout) -> np.ndarray:
    """For each place, whether its run is still to be trained, or at least to be evaluated."""
    going, amid = ends.going(config.stop_when_solved), ends.recent["steps"] > 0
    if config.stop_when_decided:
        grid = len(config.learning_rates), config.seeds
        solved_at, diverged_at = (each[_order(layout)].reshape(grid) for each in (ends.solved_at, ends.diverged_at))
        going &= not decided(solved_at, diverged_at, int(ends.step.max()))
    return going | amid


def _saved(state: RunState, layout: Layout, seconds: float) -> PyTree:
    """The runs in their own order, which does not depend on the layout."""
    order = _order(layout)
    runs = jax.tree.map(lambda leaf: leaf[order], layout.get(state))
    return {"runs": to_keep(runs), "seconds": np.float64(seconds)}


def _order(layout: Layout) -> np.ndarray:
    """The places in the order of their runs, without those that only fill up."""
    return np.argsort(layout.slots, kind="stable")[np.sum(layout.slots < 0) :]


def _placed(runs: RunState, layout: Layout) -> RunState:
    placed = jax.tree.map(lambda leaf: np.asarray(leaf)[np.maximum(layout.slots, 0)], runs)
    return placed.replace(enabled=layout.slots >= 0)


def _passes(every: int, before: int, done: int) -> bool:
    """Whether a multiple of `every` lies after step `before`, and not after `done`."""
    return done // every > before // every

"""What is told of the runs of a program: lines of records, its description, how they stand and how they end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqjax import spec
from seqjax.training import record
from seqjax.training.coding import digest
from seqjax.training.config import Config
from seqjax.training.layout import Layout
from seqjax.training.preparing import Prepared
from seqjax.training.state import NEVER, RunState
from seqjax.types import PyTree, UserError


def measured_lines(measured: PyTree, done: int, layout: Layout, which: np.ndarray) -> list[dict[str, Any]]:
    """A line of metrics.jsonl for each of the places."""
    values = layout.get(measured)
    return [
        {"step": done, "run": int(layout.slots[place])} | {name: float(each[place]) for name, each in values.items()}
        for place in _in_order(which, layout)
    ]


def probed_lines(
    probe: Callable, state: RunState, data: PyTree, layout: Layout, which: np.ndarray
) -> list[dict[str, Any]]:
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


def description(prepared: Prepared, command: str) -> dict[str, Any]:
    """What config.json holds."""
    config, task, eval_task = prepared.config, prepared.task, prepared.eval_task
    named = spec.parse(config.task)
    solvable = config.select_on and not eval_task.criterion.startswith("never")
    judged_on = f", on the {config.select_on} split" if solvable else ""
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
            **({} if (coded := digest(task)) is None else {"coding": coded}),
            "readout": task.readout,
            "criterion": eval_task.criterion + (f", on {config.eval_task}" if config.eval_task else "") + judged_on,
        },
        "runs": config.runs,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        "environment": record.environment() | {"mesh": dict(prepared.layout.mesh.shape), "by": prepared.layout.by},
    }


def in_words(state: RunState, layout: Layout, lines: list[dict[str, Any]]) -> str:
    """How the runs stand, beside the progress bar."""
    losses = [line["loss"] for line in lines if math.isfinite(line["loss"])]
    solved = int(np.sum((np.asarray(state.solved_at) != NEVER) & (layout.slots >= 0)))
    loss = f"loss {np.median(losses):.4f}, " if losses else ""
    return f"{loss}{solved} of {np.sum(layout.slots >= 0)} solved"


def outcomes(config: Config, state: RunState, layout: Layout, directory: Path) -> list[dict[str, Any]]:
    """How each run ended, in the order of the runs, with the loss and score of its last evaluation.

    Where there is a split to select on they are of the evaluation that it selects, and 'selected_at' is that
    evaluation's step; None where nothing was selected.
    """
    told: dict[int, list[dict[str, Any]]] = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        found = json.loads(line)
        told.setdefault(found["run"], []).append(found)
    lost = [number for number in range(len(config.runs)) if number not in told]
    if lost:
        raise UserError(f"{directory / 'metrics.jsonl'} has no evaluation of run {lost[0]} any more; what it measured "
                        "is lost, and the run is at its end: train into another directory")  # fmt: skip
    ended = []
    steps, solved_at, diverged_at = (np.asarray(v) for v in (state.step, state.solved_at, state.diverged_at))
    for number, run in enumerate(config.runs):
        place = int(np.flatnonzero(layout.slots == number)[0])
        solved, diverged = int(solved_at[place]), int(diverged_at[place])
        chosen = None if config.select_on is None else _selected(told[number], diverged)
        shown = chosen or told[number][-1]
        ended.append(
            run
            | {
                "status": "diverged" if diverged != NEVER else "solved" if solved != NEVER else "unsolved",
                "solved_at": None if solved == NEVER else solved,
                "diverged_at": None if diverged == NEVER else diverged,
                "steps": int(steps[place]),
                "loss": shown["loss"],
                "score": shown["score"],
            }
        )
        if config.select_on is not None:
            ended[-1] |= dict.fromkeys(("selection_loss", "selected_at"))
        if chosen is not None:
            ended[-1] |= {"selection_loss": chosen["selection_loss"], "selected_at": chosen["step"]}
    return ended


def _selected(lines: list[dict[str, Any]], diverged: int) -> dict[str, Any] | None:
    """The evaluation of the least loss on the split that selects, the first of equal ones, before the run diverged."""
    before = [line for line in lines if diverged == NEVER or line["step"] < diverged]
    there = [line for line in before if line["selection_loss"] is not None]
    return min(there, key=lambda line: line["selection_loss"], default=None)

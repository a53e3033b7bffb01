"""What rows of the registry cost: how long each took, or may take here, as a table."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments.progress import progress_bar
from experiments.rows import budget_of, config_asked, missing
from seqjax import UserError
from seqjax.papers.row import BUDGETS, Row
from seqjax.report.kept import read_results
from seqjax.report.verdicts import published
from seqjax.training import Config, prepare

SECONDS_A_STEP = 8e-6  # of a small cell's time step, forward and back, whatever its size
BESIDE = 1 / 8  # of that, for each further run side by side with it


def show_list(chosen: list[tuple[str, Row]], values: flags.FlagValues, results: Path) -> None:
    """A table of the rows with their estimated cost at the budget."""
    there, bad = read_results(results)
    rate = _operations_a_second()
    table = Table("paper", "row", "published", f"time of --budget={values.budget}", "results")
    with progress_bar(len(chosen), "row") as show:
        for number, (name, row) in enumerate(chosen):
            show(number, f"{name}/{row.name}", "")
            kept = {budget: there[name, row.name, budget] for budget in BUDGETS if (name, row.name, budget) in there}
            cost = missing(row, values) or _cost(row, values, kept, rate)
            have = ", ".join(kept)
            table.add_row(name, row.name, published(row), cost, have or "-")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for line in bad:
        console.print(line, markup=False)


def _cost(row: Row, values: flags.FlagValues, kept: dict[str, dict[str, Any]], rate: float) -> str:
    """How long a row took on a device of this kind, or may take by what another budget took; else by the estimate, or
    why there is none."""
    here = {
        budget: each
        for budget, each in kept.items()
        if each["wall_seconds"] and each["environment"]["device"]["kind"] == jax.devices()[0].device_kind
    }
    if (budget := budget_of(row, values)) in here:
        return f"took {_words(here[budget]['wall_seconds'])}"
    try:
        config = config_asked(row, values)
        decisive = [each for budget, each in here.items() if budget != BUDGETS[0]]  # smoke is compilation, mostly
        if decisive and (done := sum(run.get("steps", 0) for run in decisive[-1]["runs"])):
            return f"about {_words(decisive[-1]['wall_seconds'] * config.steps * len(config.runs) / done)}"
        return f"about {_words(estimate(config, rate, values.mesh))}"
    except UserError as error:
        return str(error)


def estimate(config: Config, rate: float, mesh: str = "auto") -> float:
    """Seconds: six operations a parameter, time step and sequence, and a time step's own cost, which runs may share.

    Of all steps; runs that are decided before take less.
    """
    prepared = prepare(config, mesh)
    batch = jax.eval_shape(lambda: prepared.task.sample(jax.random.key(0), config.batch_size))
    params = jax.eval_shape(prepared.model.init, jax.random.key(0))
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    steps = sum(leaf.shape[0] for leaf in jax.tree.leaves(batch.inputs))
    runs = len(prepared.layout.slots) / prepared.layout.mesh.shape["run"]
    loops = 1 + BESIDE * (runs - 1) if prepared.layout.by == "vmap" else runs
    return config.steps * steps * (SECONDS_A_STEP * loops + 6 * numbers * config.batch_size * runs / rate)


def _operations_a_second() -> float:
    """Of a matrix product here, now, halved for what is no product."""
    a = np.ones((512, 512), np.float32)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 0.2:
        a @ a
        count += 1
    return count * 2 * 512**3 / (time.perf_counter() - start) / 2


def _words(seconds: float) -> str:
    for length, name in ((86_400, "days"), (3600, "h")):
        if seconds > 1.5 * length:
            return f"{seconds / length:.1f} {name}"
    return f"{max(1, round(seconds / 60))} min"

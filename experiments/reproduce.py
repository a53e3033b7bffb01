"""Run the rows of published tables again, and set reported beside measured.

--list shows every row, how long it took or may take here and whether it has a result. A row that was interrupted goes
on where it stopped. Results are kept in --results, from which --render makes RESULTS.md.

Example:
  python -m experiments.reproduce --paper=hochreiter1997 --rows='embedded-reber*' --budget=cpu
"""

from __future__ import annotations

import fnmatch
import importlib
import math
import pkgutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import command_line
from seqjax import UserError, papers
from seqjax.papers.row import DATA_SETS, Paper, Row
from seqjax.report import load, write_report
from seqjax.report.page import write_whole
from seqjax.report.ratios import ratios
from seqjax.report.reproduction import read_results, render, result
from seqjax.report.verdicts import interval, judged
from seqjax.spec import did_you_mean
from seqjax.training import Config, prepare, train
from seqjax.training.prediction import answers, graded, restore
from seqjax.training.record import write_json
from seqjax.training.signals import Preempted, heeded

FLAGS = flags.FlagValues()
BUDGETS = ("smoke", "cpu", "full")
SMOKE = {"steps": 20, "seeds": 1, "eval_every": 10, "eval_size": 16, "probe_every": 20, "checkpoint_every": 20}
SECONDS_A_STEP = 8e-6  # of a small cell's time step, forward and back, whatever its size
BESIDE = 1 / 8  # of that, for each further run side by side with it


def define_data_sets(flag_values: flags.FlagValues) -> None:
    """Define --data and --data_set."""
    words = "folder of the data sets that rows name as DATA/..."
    flags.DEFINE_string("data", "../shared/data", words, flag_values=flag_values)
    words = "NAME=PLACE: one of them is in another folder, or on the hub by that name"
    flags.DEFINE_multi_string("data_set", [], words, flag_values=flag_values)


define_data_sets(FLAGS)
flags.DEFINE_boolean("list", False, "show papers and rows, and stop", flag_values=FLAGS)
flags.DEFINE_string("paper", None, "a file of seqjax/papers; all if left out", flag_values=FLAGS)
flags.DEFINE_string("rows", "*", "names of rows, with * and ?", flag_values=FLAGS)
flags.DEFINE_string("budget", "cpu", "smoke (no verdict), cpu (cut to fit two cores) or full", flag_values=FLAGS)
flags.DEFINE_boolean("render", False, "only write RESULTS.md from the results", flag_values=FLAGS)
flags.DEFINE_string("results", "results", "folder of the result records, kept under papers/", flag_values=FLAGS)
flags.DEFINE_string("workdir", "runs/reproduce", "folder of the run directories", flag_values=FLAGS)
command_line.define_mesh(FLAGS)
flags.DEFINE_boolean("deterministic", False, "on a GPU, the same bits every time; slower", flag_values=FLAGS)
flags.DEFINE_integer("seeds", None, "number of seeds, in the place of the row's", flag_values=FLAGS)


def reproduce(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """List, run or render."""
    known, results = registry(), Path(values.results) / "papers"
    if values.budget not in BUDGETS:
        hint = did_you_mean(values.budget, BUDGETS)
        raise UserError(f"--budget={values.budget!r}{hint}budgets: {', '.join(BUDGETS)}")
    chosen = choose(known, values.paper, values.rows)
    if values.list:
        show_list(chosen, values, results)
        return
    if not values.render:
        command = command_line.command("reproduce", argv)
        lacking = [(name, row) for name, row in chosen if not run_row(name, row, values, command, results)]
        if lacking:
            _tell_others(known, {name for name, _ in lacking}, values)
    page = Path(values.results).parent / "RESULTS.md"
    try:
        figure = ratios(known, read_results(results)[0])
        if figure is not None:
            write_whole(results / f"{figure.name}.png", figure.png)
        page.write_text(render(known, results), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror}") from error
    print(f"results: {page}")


def registry() -> dict[str, Paper]:
    """Every paper of seqjax/papers by its file's name."""
    names = sorted(found.name for found in pkgutil.iter_modules(papers.__path__) if found.name != "row")
    return {name: importlib.import_module(f"seqjax.papers.{name}").PAPER for name in names}


def choose(known: dict[str, Paper], paper: str | None, pattern: str) -> list[tuple[str, Row]]:
    """The rows of one paper or of all whose names match. Raises UserError listing what there is."""
    if paper is not None and paper not in known:
        raise UserError(f"--paper={paper!r}{did_you_mean(paper, list(known))}papers: {', '.join(known)}")
    rows = [(name, row) for name in ([paper] if paper else known) for row in known[name].rows]
    found = [(name, row) for name, row in rows if fnmatch.fnmatch(row.name, pattern)]
    if not found:
        raise UserError(f"--rows={pattern!r} matches none of: {', '.join(row.name for _, row in rows)}")
    return found


def config_of(row: Row, budget: str, place: str | None = None, seeds: int | None = None) -> Config:
    """The Config of a row at a budget, with the place of its data set."""
    settings: dict[str, Any] = dict(row.settings)
    if budget != "full":
        settings |= row.cpu
    if budget == "smoke":
        settings |= SMOKE | {"learning_rates": row.settings["learning_rates"][:1]}
    if seeds is not None:
        settings["seeds"] = seeds
    return Config(cell=row.cell, task=row.task_on(place), **settings)


def place_of(row: Row, values: flags.FlagValues) -> str | None:
    """Where a row's data set is: where --data_set says, or else under --data; None of a row without one."""
    own = {}
    for given in values.data_set:
        name, equals, place = given.partition("=")
        if not equals or name not in DATA_SETS:
            hint = did_you_mean(name, list(DATA_SETS))
            raise UserError(f"--data_set={given!r}{hint}expected NAME=PLACE; names: {', '.join(DATA_SETS)}")
        own[name] = place
    return row.data_set and own.get(row.data_set, f"{values.data}/{row.data_set}")


def missing(row: Row, values: flags.FlagValues) -> str | None:
    """Why the row cannot be run here: its data are not at hand; else None. What --data_set names may be on the hub."""
    place = place_of(row, values)
    if place is None or Path(place).exists() or f"{row.data_set}={place}" in values.data_set:
        return None
    return f"data not at hand: {place}"


def _tell_others(known: dict[str, Paper], names: set[str], values: flags.FlagValues) -> None:
    """The rows of these papers that can be run without the data that are not at hand."""
    rows = [row for name in sorted(names) for row in known[name].rows]
    others = [row.name for row in rows if missing(row, values) is None]
    print(f"rows of {', '.join(sorted(names))} that run without: {', '.join(others) or 'none'}", file=sys.stderr)


def directory_of(name: str, row: Row, values: flags.FlagValues) -> Path:
    """The run directory of a row at a budget."""
    return Path(values.workdir) / name / f"{row.name}-{values.budget}"


def run_row(name: str, row: Row, values: flags.FlagValues, command: str, results: Path) -> bool:
    """Train a row, or go on with it, and keep its result; False where its data are not at hand."""
    why = missing(row, values)
    if why:
        remedy = f"--data_set={row.data_set}=PLACE names another folder, or what it is called on the hub"
        print(f"{name}/{row.name}: {why}; {remedy}; what it is: {DATA_SETS[row.data_set]}", file=sys.stderr)
        return False
    config = config_of(row, values.budget, place_of(row, values), values.seeds)
    directory = directory_of(name, row, values)
    prepared = prepare(config, values.mesh)
    with heeded(config.eval_every) as stopping, command_line.progress_bar(config.steps) as show:
        try:
            train(
                prepared,
                directory,
                command=command,
                resume=directory.exists(),
                progress=lambda step, words: show(step, f"{name}/{row.name}", words),
                stopping=stopping,
            )
        except Preempted as stopped:
            raise Preempted(f"{name}/{row.name} {stopped}; go on with: {command}") from stopped
    (record,) = load(directory)
    grades = [] if row.grade is None else [_grades(directory, number) for number in range(len(config.runs))]
    found = result(row, name, values.budget, record, command, grades, prepared.eval_task.peers)
    (results / name).mkdir(parents=True, exist_ok=True)
    write_json(results / name / f"{row.name}.{values.budget}.json", found)
    value, words = judged(row, values.budget, found)
    told = f"published {row.published}, measured {interval(value)}: {words}"
    print(f"{name}/{row.name}: {told}; its pictures: {write_report(directory)}")
    return True


def _grades(directory: Path, run: int) -> dict[str, float]:
    """What the task's grade says of a run's answers to the whole test split."""
    prepared, params = restore(directory, run)
    return graded(prepared.eval_task, list(answers(prepared, params, prepared.eval_task.examples.test)))


def show_list(chosen: list[tuple[str, Row]], values: flags.FlagValues, results: Path) -> None:
    """A table of the rows with their estimated cost at the budget."""
    there, bad = read_results(results)
    rate = _operations_a_second()
    table = Table("paper", "row", "published", f"time of --budget={values.budget}", "results")
    with command_line.progress_bar(len(chosen), "row") as show:
        for number, (name, row) in enumerate(chosen):
            show(number, f"{name}/{row.name}", "")
            cost = missing(row, values) or _cost(row, values, there.get((name, row.name, values.budget)), rate)
            have = ", ".join(budget for budget in BUDGETS if (name, row.name, budget) in there)
            published = "-" if row.published is None else f"{row.published:g} [{row.source}]"
            table.add_row(name, row.name, published, cost, have or "-")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    for line in bad:
        console.print(line, markup=False)


def _cost(row: Row, values: flags.FlagValues, kept: dict[str, Any] | None, rate: float) -> str:
    """How long a row took, recorded on a device of this kind; else the estimate, or why there is none."""
    if kept and kept["wall_seconds"] and kept["environment"]["device"]["kind"] == jax.devices()[0].device_kind:
        return f"took {_words(kept['wall_seconds'])}"
    try:
        config = config_of(row, values.budget, place_of(row, values), values.seeds)
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


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(reproduce, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Run the rows of published tables again, and set reported beside measured.

--list shows every row, how long it took or may take here and whether it has a result. A row that was interrupted goes
on where it stopped. Results are kept in --results, from which --render makes RESULTS.md.

Example:
  python -m experiments.reproduce --paper=hochreiter1997 --rows='embedded-reber*' --budget=cpu
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from absl import flags

from experiments import command_line, launch, rows
from experiments.progress import progress_bar
from experiments.row_costs import show_list
from seqjax import UserError
from seqjax.files import ready_folder, write_whole
from seqjax.papers.row import DATA_SETS, Paper, Row
from seqjax.report import load, write_report
from seqjax.report.kept import read_results, result
from seqjax.report.ratios import ratios
from seqjax.report.reproduction import render
from seqjax.report.verdicts import interval, judged, published
from seqjax.training import prepare, train
from seqjax.training.lock import hold
from seqjax.training.prediction import answers, graded, restore
from seqjax.training.record import MALFORMED, read_json, write_json
from seqjax.training.signals import Preempted, heeded

FLAGS = flags.FlagValues()
rows.define_data_sets(FLAGS)
flags.DEFINE_boolean("list", False, "show papers and rows, and stop", flag_values=FLAGS)
flags.DEFINE_string("paper", None, "one of seqjax/papers; all if left out", flag_values=FLAGS)
flags.DEFINE_string("rows", "*", "names of rows, with * and ?", flag_values=FLAGS)
flags.DEFINE_string("budget", "cpu", "smoke (no verdict), cpu (cut to fit two cores) or full", flag_values=FLAGS)
flags.DEFINE_boolean("render", False, "only write RESULTS.md from the results", flag_values=FLAGS)
RESULTS = "folder of the result records, kept under papers/; RESULTS.md goes beside the default, into any other"
flags.DEFINE_string("results", "results", RESULTS, flag_values=FLAGS)
flags.DEFINE_string("workdir", "runs/reproduce", "folder of the run directories", flag_values=FLAGS)
command_line.define_mesh(FLAGS)
launch.define_launch(FLAGS)
flags.DEFINE_boolean("deterministic", False, "on a GPU, the same bits every time; slower", flag_values=FLAGS)
flags.DEFINE_integer("seeds", None, "number of seeds, in the place of the row's", flag_values=FLAGS)


def reproduce(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """List, run or render."""
    known, results = rows.registry(), Path(values.results) / "papers"
    rows.require_budget(values.budget)
    chosen = rows.choose(known, values.paper, values.rows)
    if values.list:
        show_list(chosen, values, results)
        return
    page = Path("" if Path(values.results) == Path(FLAGS["results"].default) else values.results) / "RESULTS.md"
    failed = {}
    if values.render:
        _require_records(results)
    else:
        command = command_line.command("reproduce", argv)
        if values.launch:
            failed = _run_apart(chosen, values, command)
        try:
            here = [each for each in chosen if _title(*each) not in failed]
            failed |= _run_here(here, values, command, results, known)
        except Preempted:
            _write_page(page, known, results)
            raise
        rows.require_some_at_hand(chosen, values)
    if len(failed) < len(chosen):
        _write_page(page, known, results)
    require_none_failed(failed, len(chosen))


def require_none_failed(failed: dict[str, str], count: int) -> None:
    """Tell of each row that failed why, and raise UserError where some of so many did."""
    for title, why in failed.items():
        print(f"failed: {title}: {why}", file=sys.stderr)
    if failed:
        remedy = "once that is mended, the same command goes on with those alone"
        raise UserError(f"{len(failed)} of {count} rows failed; {remedy}")


def _require_records(results: Path) -> None:
    """Raise UserError where there is nothing to make a page of."""
    if not any(results.rglob("*.json")):
        raise UserError(f"{results} holds no records; expected the folder in which rows that were run are kept")


def _write_page(page: Path, known: dict[str, Paper], results: Path) -> None:
    """RESULTS.md, and its picture beside the results; names the records that are left out."""
    try:
        kept, bad = read_results(results)
        figure = ratios(known, kept)
        results.mkdir(parents=True, exist_ok=True)
        if figure is not None:
            write_whole(results / f"{figure.name}.png", figure.png)
        write_whole(page, render(known, results, page.parent))
    except OSError as error:
        raise UserError(f"cannot write {page}: {error.strerror}") from error
    for line in bad:
        print(line, file=sys.stderr)
    print(f"results: {page}")


def _title(name: str, row: Row) -> str:
    return f"{name}/{row.name}"


def _run_here(
    chosen: list[tuple[str, Row]], values: flags.FlagValues, command: str, results: Path, known: dict[str, Paper]
) -> dict[str, str]:
    """Run the rows whose data are at hand, one after the other; of those that failed, why."""
    failed, lacking = {}, set()
    for name, row in chosen:
        try:
            if not run_row(name, row, values, command, results):
                lacking.add(name)
        except UserError as error:
            failed[_title(name, row)] = str(error)
    if lacking:
        _tell_others(known, lacking, values)
    return failed


def _run_apart(chosen: list[tuple[str, Row]], values: flags.FlagValues, command: str) -> dict[str, str]:
    """Train the rows whose data are at hand as jobs; of those that died, why."""
    wanted, folder = launch.read_launch(values.launch), Path(values.workdir) / "jobs"
    programs = {}
    for name, row in chosen:
        if rows.missing(row, values) is None:
            config = rows.config_asked(row, values)
            prepare(config, launch.mesh_here(values))  # what cannot be run is refused before anything is
            programs[_title(name, row)] = config, rows.directory_of(name, row, values)
    with hold(folder):
        return launch.train_apart(wanted, folder / values.budget, programs, values, command)


def _tell_others(known: dict[str, Paper], names: set[str], values: flags.FlagValues) -> None:
    """The rows of these papers that can be run without the data that are not at hand."""
    there = {name: [row.name for row in paper.rows if not rows.missing(row, values)] for name, paper in known.items()}
    others = ", ".join(row for name in sorted(names) for row in there[name])
    others = others or f"none; papers that have some: {', '.join(name for name, each in there.items() if each)}"
    print(f"rows of {', '.join(sorted(names))} that run without: {others}", file=sys.stderr)


def run_row(name: str, row: Row, values: flags.FlagValues, command: str, results: Path) -> bool:
    """Train a row, or go on with it, and keep its result; False where its data are not at hand.

    Raises:
        UserError: it cannot be run, or the result kept before is damaged, or of more seeds than --seeds or the row has.
    """
    why = rows.missing(row, values)
    if why:
        remedy = f"--data_set={row.data_set}=PLACE names another folder, or what it is called on the hub"
        print(f"{name}/{row.name}: {why}; {remedy}; what it is: {DATA_SETS[row.data_set]}", file=sys.stderr)
        return False
    config, budget = rows.config_asked(row, values), rows.budget_of(row, values)
    directory, kept = rows.directory_of(name, row, values), results / name / f"{row.name}.{budget}.json"
    if kept.exists():
        _require_no_loss(kept, config.seeds)
    _require_room(kept.parent)
    prepared = prepare(config, launch.mesh_here(values))
    with heeded() as stopping, progress_bar(config.steps) as show:
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
            with contextlib.suppress(UserError):  # there may be nothing to report yet
                write_report(directory)
            raise Preempted(f"{name}/{row.name} {stopped}; go on with: {command}") from stopped
    (record,) = load(directory)
    grades = [] if row.grade is None else [_grades(directory, number) for number in range(len(config.runs))]
    found = result(row, name, budget, record, command, grades, prepared.eval_task.peers)
    write_json(kept, found)
    value, words = judged(row, budget, found)
    told = f"published {published(row)}, measured {interval(row, value)}: {words}"
    print(f"{name}/{row.name}: {told}; its pictures: {write_report(directory)}")
    return True


def _require_room(folder: Path) -> None:
    """Raise UserError where no result could be kept once it is there."""
    try:
        ready_folder(folder)
    except OSError as error:
        raise UserError(f"no results can be kept in {folder}: {error.strerror}; --results names another") from error


def _require_no_loss(kept: Path, seeds: int) -> None:
    """Raise UserError where a result would be lost: one that cannot be read, or one of more seeds."""
    try:
        more = len({run["seed"] for run in read_json(kept)["runs"]}) > seeds
    except MALFORMED as error:
        raise UserError(f"{kept} is damaged; move it away to run the row again") from error
    if more:
        raise UserError(f"{kept} is of more than {seeds} seeds; name as many by --seeds, or another --results")


def _grades(directory: Path, run: int) -> dict[str, float]:
    """What the task's grade says of a run's answers to the whole test split."""
    prepared, params = restore(directory, run)
    return graded(prepared.eval_task, list(answers(prepared, params, prepared.eval_task.examples.test)))


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    several = lambda values: rows.several_runs(values, values.paper)  # noqa: E731
    return command_line.run(reproduce, FLAGS, __doc__, argv, shares_cores=several)


if __name__ == "__main__":
    sys.exit(main())

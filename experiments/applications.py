"""Every application on real data, at a small budget: one report with a sample of each.

The rows are those of `experiments.reproduce --paper=applications`, and their records are kept at the same place.
--page makes docs/applications.md of the records, and of the samples beside them.

Example:
  python -m experiments.applications --data=../shared/data --rows='t*' --budget=cpu
"""

from __future__ import annotations

import os
import sys
from html import escape
from pathlib import Path

from absl import flags

from experiments import command_line, rows
from experiments.reproduce import require_none_failed, run_row
from experiments.samples import sample
from seqjax import UserError
from seqjax.files import write_whole
from seqjax.papers.row import Row
from seqjax.report import applications as made
from seqjax.report.kept import read_results
from seqjax.report.page import document, grid, picture
from seqjax.training.prediction import restore
from seqjax.training.record import read_json

FLAGS = flags.FlagValues()
flags.DEFINE_string("rows", "*", "names of applications, with * and ?", flag_values=FLAGS)
flags.DEFINE_string("budget", "cpu", "smoke (does it run), cpu (a fifth of the steps) or full", flag_values=FLAGS)
rows.define_data_sets(FLAGS)
flags.DEFINE_string("results", "results", "folder of the result records, kept under papers/", flag_values=FLAGS)
flags.DEFINE_string("workdir", "runs/applications", "folder of the run directories and report.html", flag_values=FLAGS)
flags.DEFINE_boolean("page", False, "only make docs/applications.md from the records", flag_values=FLAGS)
flags.DEFINE_integer("seeds", None, "number of seeds, in the place of the row's", flag_values=FLAGS)
command_line.define_mesh(FLAGS)
PAGE = Path("docs/applications.md")


def applications(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Train, answer, report."""
    paper, results = rows.registry()[made.NAME], Path(values.results) / "papers"
    rows.require_budget(values.budget)
    chosen = rows.choose({made.NAME: paper}, made.NAME, values.rows)
    kept = results / made.NAME
    if values.page:
        samples = {row.name: shown for row in paper.rows if (shown := _kept(kept, row.name)) is not None}
        ancestors = [read_json(path) for path in sorted((Path(values.results) / "hidden_markov").glob("*.json"))]
        write_whole(PAGE, made.page(paper, results, samples, ancestors))
        print(f"page: {PAGE}")
        return
    command = command_line.command("applications", argv)
    parts = ["<h1>Applications</h1>", f"<pre>{escape(command)}</pre>"]
    failed = {}
    for name, row in chosen:
        try:
            if run_row(name, row, values, command, results):
                parts += _answered(name, row, values)
        except UserError as error:
            failed[row.name] = str(error)
    rows.require_some_at_hand(chosen, values)
    if len(failed) < len(chosen):
        _write_report(Path(values.workdir) / "report.html", parts)
    require_none_failed(failed, len(chosen))


def _answered(name: str, row: Row, values: flags.FlagValues) -> list[str]:
    """What the report shows of a row that was run; kept beside its record, unless the budget is smoke."""
    results = Path(values.results) / "papers"
    answer = sample(*restore(rows.directory_of(name, row, values), run=None))
    line = made.line(row, read_results(results)[0].get((name, row.name, rows.budget_of(row, values))))
    parts = [f"<h2>{escape(row.name)}</h2>", grid(made.HEADINGS, [line])]
    parts += [f"<pre>{escape(answer.words)}</pre>"] if answer.words else []
    parts += [picture(figure) for figure in answer.figures]
    if values.budget != "smoke":
        if answer.words:
            write_whole(results / name / f"{row.name}.sample.txt", answer.words + "\n")
        for figure in answer.figures:
            write_whole(results / name / f"{row.name}.{figure.name}.png", figure.png)
    return parts


def _write_report(report: Path, parts: list[str]) -> None:
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_whole(report, document("Applications", parts))
    except OSError as error:
        raise UserError(f"cannot write {report}: {error.strerror}") from error
    print(f"report: {report}")


def _kept(folder: Path, name: str) -> made.Shown | None:
    """What was kept of a row's answers; None if nothing was."""
    words = folder / f"{name}.sample.txt"
    figures = tuple(os.path.relpath(path, PAGE.parent) for path in sorted(folder.glob(f"{name}.*.png")))
    if not words.exists() and not figures:
        return None
    return made.Shown(words.read_text("utf-8").rstrip("\n") if words.exists() else "", figures)


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    several = lambda values: rows.several_runs(values, made.NAME)  # noqa: E731
    return command_line.run(applications, FLAGS, __doc__, argv, shares_cores=several)


if __name__ == "__main__":
    sys.exit(main())

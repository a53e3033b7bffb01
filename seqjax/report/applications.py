"""The page of applications, from the same result records as RESULTS.md: figure reached, goal, published number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from seqjax.papers.row import Paper, Row
from seqjax.report.kept import read_results
from seqjax.report.markdown import pipe_table
from seqjax.report.medians import at_best, measured
from seqjax.report.tables import short
from seqjax.report.verdicts import decisive, interval, outdated, published

HEADINGS = (
    *("application", "shape", "measure", "reached [bootstrap interval]", "goal", "published"),
    *("without a network", "budget", "wall time"),
)
GRADES = "Medians over seeds; of translations by the length of the source."
NAME = "applications"


class Shown(NamedTuple):
    """What a trained network of a row answered: words, and where the figures lie, seen from the page."""

    words: str
    figures: tuple[str, ...] = ()


def page(paper: Paper, results: Path, samples: Mapping[str, Shown], ancestors: Sequence[Mapping[str, Any]]) -> str:
    """docs/applications.md: two tables, what differs from the published settings, the commands, and samples."""
    found, bad = read_results(results)
    lines, notes, commands, grades = [], [], [], []
    for row in paper.rows:
        budget, kept = decisive(row, NAME, found) or (None, None)
        lines.append(line(row, kept))
        notes.append(f"- `{row.name}`: `{row.task}`, `{row.cell}`. {row.known}.")
        if kept and (other := outdated(row, budget, kept)):
            notes[-1] += f" Its number was reached with another {', '.join(other)}."
        if kept:
            commands.append(f"- `{row.name}`: `{kept['command']}`")
            grades += [f"- `{row.name}`: {all_grades}."] if (all_grades := _grades(kept)) else []
    parts = [
        "# Applications",
        "",
        "Made by `python -m experiments.applications --page` from the records in `results/papers/applications/`; no",
        "number is typed by hand. Medians over seeds. Sources of published numbers: see RESULTS.md.",
        "Wall times are of two cores that had other work to do as well.",
        "",
        *pipe_table(HEADINGS, lines),
        "",
        "Without a network: the loss of the guess that the task's docstring names, and of simple predictors.",
        "",
        *(grades and ["## All grades", "", GRADES, "", *grades, ""]),
        *_hidden_markov(ancestors),
        "## Settings, and how they differ from the published ones",
        "",
        *notes,
        "",
        "## Commands",
        "",
        *(commands or ["None was run yet."]),
        "",
        *(bad and ["## Records left out", "", *[f"- {each}." for each in bad], ""]),
    ]
    if samples:
        parts += ["## Samples", ""]
        for name, shown in samples.items():
            parts += [f"`{name}`:", "", *(["```", shown.words, "```", ""] if shown.words else [])]
            parts += [line for figure in shown.figures for line in (f"![{Path(figure).stem}]({figure})", "")]
    return "\n".join(parts).rstrip() + "\n"


def _hidden_markov(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The classical ancestor on the same data, a line for each record of `experiments.hidden_markov`."""
    if not records:
        return []
    rows = []
    for record in records:
        numbers = ", ".join(f"{name} {short(value)}" for name, value in record["found"].items() if name != "model")
        rows.append([record["found"]["model"], numbers, f"`{record['command']}`"])
    title = "## The hidden Markov model on the same data"
    return [title, "", *pipe_table(("model", "found", "command"), rows), ""]


def line(row: Row, found: Mapping[str, Any] | None) -> list[str]:
    """A row of the table, of its record if there is one."""
    measure = row.grade or {"loss": "loss (nats, or squared error)", "score": "accuracy"}.get(row.measure)
    begin = [f"`{row.name}`", row.shape, measure or row.measure_words]
    goal = "-" if row.goal is None else short(row.goal)
    if found is None:
        return [*begin, "not run", goal, published(row), "-", "-", "-"]
    runs = at_best(found)
    value = interval(row, measured(row, runs, found["config"]["batch_size"]))
    budget = f"{found['budget']}: {found['config']['steps']} steps, {len(runs)} seed{'s' * (len(runs) > 1)}"
    wall = found["wall_seconds"]
    others = {"guess": found["baseline"], **found.get("peers", {})} if row.measure == "loss" else {}
    beside = ", ".join(f"{name} {short(loss)}" for name, loss in others.items()) or "-"
    return [*begin, value, goal, published(row), beside, budget, "-" if wall is None else f"{wall / 60:.1f} min"]


def _grades(found: Mapping[str, Any]) -> str:
    """All that were measured of a record's runs, where they are several; else nothing."""
    runs = [run["grades"] for run in at_best(found) if len(run.get("grades", {})) > 1]
    return ", ".join(f"{name} {short(median(run[name] for run in runs))}" for name in runs[0]) if runs else ""

"""Reported beside measured: the result records of papers' rows, and RESULTS.md from them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqjax.papers.row import BUDGETS, MEASURES, NOT_PASSED_ON, SOURCES, TOLERANCES, Comparison, Paper, Row
from seqjax.report.comparisons import COMPARED, comparison_lines
from seqjax.report.kept import read_results
from seqjax.report.markdown import pipe_table
from seqjax.report.medians import at_best, at_rate, coverage, measured, without_memory
from seqjax.report.ratios import EXPLANATION, TITLE
from seqjax.report.tables import short, spread
from seqjax.report.verdicts import RULES, decisive, fewer, interval, judged, published

Results = Mapping[tuple[str, str, str], dict[str, Any]]  # as `read_results` gives them

HEADINGS = (
    "row", "budget", "measure", "published", "measured [interval]", "without memory", "learning rate", "solved",
    "steps to solve", "verdict", "device", "wall time",
)  # fmt: skip


def render(papers: Mapping[str, Paper], directory: Path, place: Path) -> str:
    """RESULTS.md: every row of the registry, with what the records in a directory say, and the picture there.

    place: the folder that the page is for
    """
    results, bad = read_results(directory)
    records = Path(os.path.relpath(directory, place)).as_posix()
    covered = ", of ".join(f"{n} seeds in {100 * coverage(n):.0f} %" for n in (2, 3, 5))
    ratios = f"{100 * Comparison._field_defaults['tolerance']:g} %"
    tolerances = "; ".join(f"{100 * share:g} % of {MEASURES[measure]}" for measure, share in TOLERANCES.items())
    parts = [
        "# Reported and measured",
        "",
        "Made by `python -m experiments.reproduce --render` from the registry (`seqjax/papers/`) and the records in",
        f"`{records}/`; no measured number of a table is typed by hand. Medians over seeds at the best",
        "learning rate of the row's grid. The seeds that are reported choose it, which favours it. Training at all",
        "rates may end once it is known: all its seeds have solved the task, and at no other rate can they sooner.",
        "Intervals are bootstrapped (of a share: Wilson's), of 95 % in name: those of few seeds are at most their",
        f"range, which covers the true median of {covered} of cases.",
        "The best rate is that at which most seeds solve the task, then soonest, then with the least loss; at the",
        "end of its grid, where a wider one might have a better, the row says so. Of sequences until solved, a seed",
        "that never solves the task counts as the longest; steps to solve are the median [least..greatest] of the",
        "seeds that solve it. Solved: by the task's own criterion, which is said below; most applications and music",
        "have none. Without memory: the loss of the best guess that has none; of real data, of the guess that the",
        "task's docstring names.",
        "",
        f"{RULES} Tolerances: {tolerances}, {ratios} of a ratio of two rows, or as is said below.",
        "",
        "Sources: " + "; ".join(f"[{mark}] {words}" for mark, words in SOURCES.items()) + ".",
        "",
    ]
    if (directory / "ratios.png").exists():
        parts += [f"![{TITLE}]({records}/ratios.png)", "", EXPLANATION, ""]
    parts += [*_overview(papers, results), ""]
    known = {(name, row.name) for name, paper in papers.items() for row in paper.rows}
    for name, paper in papers.items():
        parts += _section(name, paper, results)
    bad += [f"{key[0]}/{key[1]} is no row of the registry" for key in results if key[:2] not in known]
    if bad:
        parts += ["## Records left out", "", *[f"- {line}." for line in bad], ""]
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, paper: Paper, results: Results) -> list[str]:
    """A paper's rows, what is said of two of them side by side, the notes, and every learning rate."""
    parts = [
        f"## {paper.title}",
        "",
        *([paper.known, ""] if paper.known else []),
        *pipe_table(HEADINGS, (line for row in paper.rows for line in _lines(name, row, results))),
    ]
    if paper.comparisons:
        parts += ["", *pipe_table(COMPARED, comparison_lines(name, paper, results))]
    notes: dict[str, list[str]] = {}
    for row in paper.rows:
        within = "" if row.tolerance is None else f"called the same within {100 * row.tolerance:g} %"
        if told := "; ".join(filter(None, (row.known, within))):
            notes.setdefault(told, []).append(row.name)
    for row in paper.rows:
        kept = decisive(row, name, results)
        if kept and kept[1]["environment"].get("dirty"):
            notes.setdefault("made with changes that were in no commit", []).append(row.name)
        if kept and _solvable(kept[1]) and kept[1].get("criterion"):
            notes.setdefault(f"solved: {kept[1]['criterion']}", []).append(row.name)
    parts += ["", *[f"- {', '.join(f'`{each}`' for each in names)}: {note}." for note, names in notes.items()], ""]
    grids = [line for row in paper.rows if (line := _at_every_rate(name, row, results))]
    if grids:
        words = (
            "At every learning rate: what was measured, and how many seeds solved the task. Once the best rate is known"
        )
        parts += [f"<details><summary>{words}, runs at the others end where they are.</summary>"]
        parts += ["", *pipe_table(("row", "measured [interval] (solved) at each rate"), grids), "", "</details>", ""]
    return parts


def _at_every_rate(name: str, row: Row, results: Results) -> list[str]:
    """What a row measured at each rate of its grid, the largest budget's; [] where it has one, or no result."""
    kept = decisive(row, name, results)
    config = kept[1]["config"] if kept else {"learning_rates": []}
    if len(config["learning_rates"]) < 2:
        return []
    told = []
    for rate in config["learning_rates"]:
        runs = at_rate(kept[1], rate)
        solved = sum(run["status"] == "solved" for run in runs)
        ended = [run["steps"] for run in runs if run["status"] == "unsolved" and run["steps"] < config["steps"]]
        found = measured(row, runs, config["batch_size"])
        lost = found.value is None and all(run["status"] == "diverged" for run in runs)
        words = f"ended at {max(ended)}" if ended else "diverged" if lost else interval(row, found)
        told.append(f"{rate:g}: {words}" + f" ({solved}/{len(runs)})" * _solvable(kept[1]))
    return [f"`{row.name}`", "; ".join(told)]


def _solvable(found: Mapping[str, Any]) -> bool:
    """Whether the task has a criterion by which it is solved."""
    return not str(found.get("criterion", "")).startswith("never")


ENDS = ("reproduced", "better", "not reproduced", "unclear", "no published number", "not run", "data not at hand")


def _overview(papers: Mapping[str, Paper], results: Results) -> list[str]:
    """How many rows of each paper ended how, each at the largest budget that was run."""

    def end(name: str, row: Row) -> tuple[str, bool]:
        """How it ended, and whether the budget was cut."""
        kept = decisive(row, name, results)
        if kept is None:
            return _not_run(row), False
        cut = bool(fewer(row, kept[1]["config"]))
        if row.published is None:
            return "no published number", cut
        _, words = judged(row, *kept)
        return next((each for each in ENDS if words.startswith(each)), "unclear"), cut

    def count(ends: Counter[tuple[str, bool]], each: str) -> str:
        whole, cut = ends[each, False] + ends[each, True], ends[each, True]
        return f"{whole or '-'}" + f" ({cut} cut)" * bool(cut)

    counts = [(name, Counter(end(name, row) for row in paper.rows)) for name, paper in papers.items()]
    counts.append(("all", sum((ends for _, ends in counts), Counter())))
    rows = [[f"`{name}`", f"{ends.total()}", *(count(ends, each) for each in ENDS)] for name, ends in counts]
    return [*pipe_table(("paper", "rows", *ENDS), rows), "", "Cut: with a smaller budget than the row's."]


def _lines(paper: str, row: Row, results: Results) -> list[list[str]]:
    begin = [f"`{row.name}`"]
    lines = []
    for budget in reversed(BUDGETS):
        found = results.get((paper, row.name, budget))
        if found is None:
            continue
        config, device = found["config"], found["environment"]["device"]
        runs = at_best(found)
        value, words = judged(row, budget, found)
        guess = without_memory(row, found)
        steps = spread(run["solved_at"] for run in runs if run["status"] == "solved")
        solved = sum(run["status"] == "solved" for run in runs)
        wall = found["wall_seconds"]
        lines.append(
            [
                *begin,
                _budget(row, budget, config),
                row.measure_words,
                published(row),
                interval(row, value),
                "-" if guess is None else short(guess),
                _rate(found),
                f"{solved}/{len(runs)}" if _solvable(found) else "-",
                str(steps) if steps else "-",
                words,
                f"{device['count']} x {device['kind']}",
                "-" if wall is None else f"{wall / 60:.1f} min",
            ]
        )
    return lines or [[*begin, "-", row.measure_words, published(row), _not_run(row), *"-------"]]


def _not_run(row: Row) -> str:
    """What a row without a record says: a data set that may not be passed on is not at hand here."""
    return "data not at hand" if row.data_set in NOT_PASSED_ON else "not run"


def _rate(found: Mapping[str, Any]) -> str:
    """The best learning rate and the grid that it is of: '0.2 of 0.05, 0.1, 0.2, its end'; of one rate, that."""
    grid, best = found["config"]["learning_rates"], found["best_learning_rate"]
    if len(grid) == 1:
        return f"{best:g}"
    return f"{best:g} of {', '.join(f'{rate:g}' for rate in grid)}" + ", its end" * (best in (min(grid), max(grid)))


def _budget(row: Row, budget: str, config: Mapping[str, Any]) -> str:
    """'full', or what was cut: 'cpu (steps 3000 of 50000, seeds 3 of 5)'."""
    cut = fewer(row, config)
    return budget + (f" ({', '.join(cut)})" if cut else "")

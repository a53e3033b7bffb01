"""Reported beside measured: the result records of papers' rows, and RESULTS.md from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.papers.row import BUDGETS, NOT_PASSED_ON, NOTHING, SOURCES, Paper, Row
from seqjax.report.comparisons import COMPARED, comparison_lines
from seqjax.report.medians import at_best, coverage
from seqjax.report.ratios import EXPLANATION, TITLE
from seqjax.report.records import MALFORMED, Record, Run
from seqjax.report.tables import best_rate, spread
from seqjax.report.verdicts import SMALLER, decisive, fewer, interval, judged, published


def result(
    row: Row,
    paper: str,
    budget: str,
    record: Record,
    command: str,
    grades: Sequence[Mapping[str, float]] = (),
    peers: Mapping[str, float] = NOTHING,
) -> dict[str, Any]:
    """What is kept of a run, as JSON: its settings, every run's end and grades, device, versions, wall time.

    `earlier` tells of a run that went on beyond its end how many steps it had before, and by which commit.

    peers: the task's own, simple predictors on the same rows
    """

    def ended(run: Run, graded: Mapping[str, float]) -> dict[str, Any]:
        fields = ("seed", "learning_rate", "status", "steps", "solved_at", "diverged_at", "loss", "score")
        fields += () if run.selected_at is None else ("selection_loss", "selected_at")
        return {name: getattr(run, name) for name in fields} | ({"grades": dict(graded)} if graded else {})

    before = [
        {"steps": each["config"]["steps"], "commit": each["environment"]["commit"]}
        for each in record.config.get("earlier", [])
    ]
    return {
        "paper": paper,
        "row": row.name,
        "budget": budget,
        "command": command,
        "config": record.config["config"],
        "environment": record.config["environment"],
        **({"earlier": before} if before else {}),
        "parameters": record.parameters,
        "baseline": record.baseline,
        "peers": dict(peers),
        "best_learning_rate": best_rate(record),
        "wall_seconds": record.wall_seconds,
        "runs": [ended(run, found) for run, found in zip(record.runs, grades or [{}] * len(record.runs))],
    }


def read_results(directory: Path) -> tuple[dict[tuple[str, str, str], dict[str, Any]], list[str]]:
    """(paper, row, budget) -> result, and a line for each file that cannot be read; none is changed."""
    found, bad = {}, []
    for path in sorted(directory.glob("*/*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            key = content["paper"], content["row"], content["budget"]
            _require_whole(content)
        except (OSError, *MALFORMED) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            bad.append(f"{path.parent.name}/{path.name} cannot be read ({reason}); it is left as it is and not counted")
            continue
        found[key] = content
    return found, bad


def _require_whole(content: dict[str, Any]) -> None:
    """Raise ValueError or KeyError where something that the page is made of is missing or of another kind."""
    config, device = content["config"], content["environment"]["device"]
    runs = at_best(content)
    if not runs or any({"status", "solved_at", "loss", "score"} - run.keys() for run in runs):
        raise ValueError("its runs are not whole")
    numbers = [config[name] for name in ("batch_size", "steps", "seeds")] + [device["count"]]
    numbers += [value for run in runs for value in run.get("grades", {}).values()]
    perhaps = [content["wall_seconds"], *(run[name] for run in runs for name in ("solved_at", "loss", "score"))]
    for value in (*numbers, *(value for value in perhaps if value is not None)):
        if not isinstance(value, (int, float)) or abs(value) > 1e300:
            raise ValueError(f"{value!r:.40} in the place of a number")
    texts = [content[name] for name in ("paper", "row", "budget")] + [device["kind"], config["task"]]
    for value in (*texts, *(run["status"] for run in runs)):
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.40} in the place of a text")
    if not isinstance(config["learning_rates"], list):
        raise ValueError("no list of learning rates")


HEADINGS = (
    "row", "budget", "measure", "published", "measured [bootstrap interval]", "solved", "steps to solve", "verdict",
    "device", "wall time",
)  # fmt: skip


def render(papers: Mapping[str, Paper], directory: Path) -> str:
    """RESULTS.md: every row of the registry, with what the records in a directory say, and the picture there."""
    results, bad = read_results(directory)
    parts = [
        "# Reported and measured",
        "",
        "Made by `python -m experiments.reproduce --render` from the registry (`seqjax/papers/`) and the records in",
        "`results/papers/`; no number is typed by hand. Medians over seeds at the best rate of the row's grid, which",
        "may end once that rate is known: all its seeds have solved the task, and at no other can they sooner.",
        "Intervals are bootstrapped, of 95 % in name: those of few seeds are at most their range, which covers the",
        f"true median of {', of '.join(f'{n} seeds in {100 * coverage(n):.0f} %' for n in (2, 3, 5))} of cases.",
        "Sources: " + "; ".join(f"[{mark}] {words}" for mark, words in SOURCES.items()) + ".",
        "",
    ]
    picture = directory / "ratios.png"
    if picture.exists():
        parts += [f"![{TITLE}]({picture.relative_to(directory.parent.parent).as_posix()})", "", EXPLANATION, ""]
    parts += [*_overview(papers, results), ""]
    known = {(name, row.name) for name, paper in papers.items() for row in paper.rows}
    for name, paper in papers.items():
        rows = [line for row in paper.rows for line in _lines(name, row, results)]
        parts += [f"## {paper.title}", ""]
        parts += _table(HEADINGS, rows)
        if paper.comparisons:
            parts += ["", *_table(COMPARED, comparison_lines(name, paper, results))]
        notes: dict[str, list[str]] = {}
        for row in paper.rows:
            if row.known:
                notes.setdefault(row.known, []).append(row.name)
        for row in paper.rows:
            kept = decisive(row, name, results)
            if kept and kept[1]["environment"].get("dirty"):
                notes.setdefault("made with changes that were in no commit", []).append(row.name)
        parts += ["", *[f"- {', '.join(f'`{each}`' for each in names)}: {note}." for note, names in notes.items()], ""]
    bad += [f"{key[0]}/{key[1]} is no row of the registry" for key in results if key[:2] not in known]
    if bad:
        parts += ["## Records left out", "", *[f"- {line}." for line in bad], ""]
    return "\n".join(parts).rstrip() + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in (headings, ["---"] * len(headings), *rows)]


ENDS = ("reproduced", "better", "not reproduced", "unclear", "no published number", "not run", "data not at hand")


def _overview(papers: Mapping[str, Paper], results: Mapping[tuple[str, str, str], dict[str, Any]]) -> list[str]:
    """How many rows of each paper ended how, each at the largest budget that was run."""

    def end(name: str, row: Row) -> tuple[str, bool]:
        """How it ended, and whether the budget was cut."""
        kept = decisive(row, name, results)
        if kept is None:
            return _not_run(row), False
        if row.published is None:
            return "no published number", False
        _, words = judged(row, *kept)
        return next((each for each in ENDS if words.startswith(each)), "unclear"), words.endswith(SMALLER)

    def count(ends: Counter[tuple[str, bool]], each: str) -> str:
        whole, cut = ends[each, False] + ends[each, True], ends[each, True]
        return f"{whole or '-'}" + f" ({cut} cut)" * bool(cut)

    counts = [(name, Counter(end(name, row) for row in paper.rows)) for name, paper in papers.items()]
    counts.append(("all", sum((ends for _, ends in counts), Counter())))
    rows = [[f"`{name}`", f"{ends.total()}", *(count(ends, each) for each in ENDS)] for name, ends in counts]
    return [*_table(("paper", "rows", *ENDS), rows), "", "Cut: with a smaller budget than the row's."]


def _lines(paper: str, row: Row, results: Mapping[tuple[str, str, str], dict[str, Any]]) -> list[list[str]]:
    begin = [f"`{row.name}`"]
    lines = []
    for budget in reversed(BUDGETS):
        found = results.get((paper, row.name, budget))
        if found is None:
            continue
        config, device = found["config"], found["environment"]["device"]
        runs = at_best(found)
        value, words = judged(row, budget, found)
        steps = spread(run["solved_at"] for run in runs)
        solved = sum(run["status"] == "solved" for run in runs)
        wall = found["wall_seconds"]
        lines.append(
            [
                *begin,
                _budget(row, budget, config),
                row.measure_words,
                published(row),
                interval(row, value),
                f"{solved}/{len(runs)}",
                str(steps) if steps else "-",
                words,
                f"{device['count']} x {device['kind']}",
                "-" if wall is None else f"{wall / 60:.1f} min",
            ]
        )
    return lines or [[*begin, "-", row.measure_words, published(row), _not_run(row), "-", "-", "-", "-", "-"]]


def _not_run(row: Row) -> str:
    """What a row without a record says: a data set that may not be passed on is not at hand here."""
    return "data not at hand" if row.data_set in NOT_PASSED_ON else "not run"


def _budget(row: Row, budget: str, config: Mapping[str, Any]) -> str:
    """'full', or what was cut: 'cpu (steps 3000 of 50000, seeds 3 of 5)'."""
    cut = fewer(row, config)
    return budget + (f" ({', '.join(cut)})" if cut else "")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")

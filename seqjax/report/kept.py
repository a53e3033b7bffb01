"""The result of a row as it is kept: what is written of its run, and the records that can be read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.papers.row import BUDGETS, NOTHING, Row
from seqjax.report.medians import at_best, at_rate
from seqjax.report.records import MALFORMED, Record, Run
from seqjax.report.tables import best_rate


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

    `criterion` is that by which runs were solved, in words. `earlier` tells of a run that went on beyond its end
    how many steps it had before, and by which commit.

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
        "criterion": record.config["task"].get("criterion", ""),
        "peers": dict(peers),
        "best_learning_rate": best_rate(record),
        "wall_seconds": record.wall_seconds,
        "runs": [ended(run, found) for run, found in zip(record.runs, grades or [{}] * len(record.runs))],
    }


def read_results(directory: Path) -> tuple[dict[tuple[str, str, str], dict[str, Any]], list[str]]:
    """(paper, row, budget) -> result, and a line for each file that cannot be read; none is changed."""
    found, bad = {}, []
    for path in sorted(directory.rglob("*.json")):
        place = path.relative_to(directory).as_posix()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            _require_whole(content)
            own = "{paper}/{row}.{budget}.json".format_map(content)
            if place != own:
                raise ValueError(f"it is {own} by what it says")
        except (OSError, *MALFORMED) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            bad.append(f"{place} cannot be read ({reason}); it is left as it is and not counted")
            continue
        found[content["paper"], content["row"], content["budget"]] = content
    return found, bad


def _require_whole(content: dict[str, Any]) -> None:
    """Raise ValueError or KeyError where something that the page is made of is missing or of another kind."""
    config, device = content["config"], content["environment"]["device"]
    runs = content["runs"]
    if not at_best(content) or any({"status", "steps", "solved_at", "loss", "score"} - run.keys() for run in runs):
        raise ValueError("its runs are not whole")
    counts = [config[name] for name in ("batch_size", "steps", "seeds")] + [device["count"]]
    counts += [run["steps"] for run in runs]
    perhaps = [content["wall_seconds"], *(run["solved_at"] for run in runs)]
    for value in (*counts, *(value for value in perhaps if value is not None)):
        if not _is_number(value) or value < 0:
            raise ValueError(f"{value!r:.40} in the place of a number from 0 on")
    numbers = [value for run in runs for value in run.get("grades", {}).values()]
    numbers += [content["baseline"], *content.get("peers", {}).values()]
    perhaps = [run[name] for run in runs for name in ("loss", "score")]
    for value in (*numbers, *(value for value in perhaps if value is not None)):
        if not _is_number(value):
            raise ValueError(f"{value!r:.40} in the place of a number")
    if len({frozenset(run.get("grades", {})) for run in runs}) > 1:
        raise ValueError("its runs have other grades than each other")
    texts = [content[name] for name in ("paper", "row", "budget", "command")] + [device["kind"], config["task"]]
    texts += [content.get("criterion", "")]
    for value in (*texts, *(run["status"] for run in runs)):
        if not isinstance(value, str):
            raise ValueError(f"{value!r:.40} in the place of a text")
    rates = config["learning_rates"]
    if not isinstance(rates, list) or not all(map(_is_number, rates)) or content["best_learning_rate"] not in rates:
        raise ValueError("no list of learning rates, with the best")
    if any(not at_rate(content, rate) for rate in rates):
        raise ValueError("its runs are not those of its learning rates")
    if content["budget"] not in BUDGETS:
        raise ValueError(f"{content['budget']!r:.40} is no budget")
    for run in runs:
        at = run["solved_at"] is not None  # of a run that went on and diverged too
        if at != (run["status"] == "solved") and (run["status"], at) != ("diverged", True):
            raise ValueError(f"a run that is {run['status']!r:.40} and was solved at {run['solved_at']}")


def _is_number(value: object) -> bool:
    """A finite one; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300

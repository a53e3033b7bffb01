"""The verdict on a row of a paper: what its seeds gave, with an interval, beside the published number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.papers.row import BUDGETS, LESS_IS_BETTER, Row
from seqjax.report.tables import short

RESAMPLES = 10_000


class Measured(NamedTuple):
    """What the seeds at the best learning rate gave: the median, and its interval by the bootstrap.

    value, low, high: in the unit of the row's measure; inf where seeds never solved, None where nothing is finite
    """

    value: float | None
    low: float | None
    high: float | None


def measured(row: Row, runs: Sequence[Mapping[str, Any]], batch_size: int) -> Measured:
    """The median over seeds and its 95 % percentile interval over 10,000 resamples. (Efron 1979)

    A share of seeds ('solved') has the interval of Wilson (1927) instead. The resampling is seeded: the
    same runs give the same interval.
    """
    if row.measure == "solved":
        return _wilson(sum(run["status"] == "solved" for run in runs), len(runs))
    if row.measure == "sequences":
        values = [math.inf if run["solved_at"] is None else run["solved_at"] * batch_size for run in runs]
    else:
        worst = math.inf if row.measure in LESS_IS_BETTER else -math.inf
        values = [worst if run["status"] == "diverged" else _value(row, run) for run in runs]
    values = np.array([math.nan if value is None else value for value in values], float)
    values = values[~np.isnan(values)]
    if not values.size:
        return Measured(None, None, None)
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    medians = np.sort(_medians(values[drawn]))
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return Measured(float(_medians(values[None])[0]), float(low), float(high))


LARGEST = 700.0  # nats, whose exponential still is a number
OF_LOSS = {"perplexity": lambda nats: math.exp(min(nats, LARGEST)), "bits": lambda nats: nats / math.log(2)}


def _value(row: Row, run: Mapping[str, Any]) -> float | None:
    if row.measure in OF_LOSS:
        return None if run["loss"] is None else OF_LOSS[row.measure](run["loss"])
    return run[row.measure] if row.grade is None else run.get("grades", {}).get(row.grade)


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians of the rows, the upper of two middle ones where their mean is not defined."""
    ordered, middle = np.sort(values, -1), values.shape[-1] // 2
    if values.shape[-1] % 2:
        return ordered[:, middle]
    low, high = ordered[:, middle - 1], ordered[:, middle]
    finite = np.isfinite(low) & np.isfinite(high)
    return np.where(finite, (np.where(finite, low, 0) + np.where(finite, high, 0)) / 2, high)


def _wilson(solved: int, seeds: int, z: float = 1.96) -> Measured:
    share, square = solved / seeds, z * z / seeds
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / seeds + square / (4 * seeds)) / (1 + square)
    return Measured(share, max(0.0, middle - half), min(1.0, middle + half))


def verdict(row: Row, found: Measured, budget: str) -> str:
    """'reproduced', 'better', 'not reproduced' or 'unclear: why'; no verdict of a smoke budget.

    Reproduced: the published number lies in the interval, or within the row's tolerance of the median. An
    interval without an upper end, as too many seeds never solved the task, holds every large number and decides
    nothing.
    """
    if budget == "smoke":
        return "no verdict (smoke)"
    if row.published is None:
        return "unclear: the paper gives no number"
    if found.value is None:
        return "not reproduced: no finite value"
    near = abs(found.value - row.published) <= row.tolerance * abs(row.published)
    inside = found.low <= row.published <= found.high
    if inside and not near and found.high == math.inf:
        return "unclear: the interval has no upper end, as seeds never solve it"
    if near or inside:
        return "reproduced"
    better = found.value < row.published if row.measure in LESS_IS_BETTER else found.value > row.published
    cut = " (with a smaller budget)" if budget == "cpu" and row.cpu else ""
    return ("better" if better else "not reproduced") + cut


def decisive(
    row: Row, paper: str, results: Mapping[tuple[str, str, str], dict[str, Any]]
) -> tuple[str, dict[str, Any]] | None:
    """The largest budget at which a row was run, and its result; None if none of those that decide was.

    results: as `read_results` gives them
    """
    found = [budget for budget in BUDGETS[1:] if (paper, row.name, budget) in results]
    return (found[-1], results[paper, row.name, found[-1]]) if found else None


def judged(row: Row, budget: str, result: Mapping[str, Any]) -> tuple[Measured, str]:
    """What a kept result measured, and the verdict on it: none if its settings are not the row's any more."""
    runs = [run for run in result["runs"] if run["learning_rate"] == result["best_learning_rate"]]
    found = measured(row, runs, result["config"]["batch_size"])
    other = changed(row, budget, result["config"], any(run["status"] == "solved" for run in result["runs"]))
    words = f"unclear: the row has another {', '.join(other)} now" if other else verdict(row, found, budget)
    return found, words


DECIDES_NOTHING = ("probe_every", "checkpoint_every", "stop_when_decided", "seeds")  # how many seeds is shown


def changed(row: Row, budget: str, config: Mapping[str, Any], solved: bool = True) -> list[str]:
    """What decides a row's numbers and is not what a result was made with; a smoke budget decides none.

    solved: whether any run solved the task; where none did, it decides nothing that one would have stopped there
    """
    if budget == "smoke":
        return []
    wanted = {"cell": row.cell} | row.settings_at(budget)
    idle = DECIDES_NOTHING if solved else (*DECIDES_NOTHING, "stop_when_solved")
    # a setting that an older record does not name was not there
    other = [name for name in wanted if name not in idle and _plain(wanted[name]) != _plain(config.get(name))]
    elsewhere = re.escape(row.task_on("PLACE")).replace("PLACE", ".*")
    return other + ([] if re.fullmatch(elsewhere, config["task"]) else ["task"])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def interval(found: Measured) -> str:
    """A median and its interval, as text."""
    if found.value is None:
        return "-"
    text = [("never" if value == math.inf else short(value)) for value in found]
    return text[0] + (f" [{text[1]}..{text[2]}]" if text[1] != text[2] else "")

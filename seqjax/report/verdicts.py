"""The verdict on a row of a paper: what its seeds gave, with an interval, beside the published number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.papers.row import BUDGETS, LESS_IS_BETTER, Comparison, Row
from seqjax.report.tables import short

RESAMPLES = 10_000
LOW, HIGH = int(0.025 * RESAMPLES), int(0.975 * RESAMPLES) - 1  # of the resamples in order


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
    medians = np.sort(_medians(_resampled(values, np.random.default_rng(0))))
    low, high = medians[LOW], medians[HIGH]
    return Measured(float(_medians(values[None])[0]), float(low), float(high))


def times_slower(slower: Sequence[Mapping[str, Any]], faster: Sequence[Mapping[str, Any]]) -> Measured:
    """The ratio of the medians of steps to solve, of the seeds of two rows, and its interval by the bootstrap.

    Where neither solves, the ratio may be anything: it is None of the seeds, and in a resample as low and as
    high as can be.
    """
    random = np.random.default_rng(0)
    at = [np.array([math.inf if run["solved_at"] is None else run["solved_at"] for run in runs], float)
          for runs in (slower, faster)]  # fmt: skip
    with np.errstate(invalid="ignore"):
        (value,) = _medians(at[0][None]) / _medians(at[1][None])
        drawn = _medians(_resampled(at[0], random)) / _medians(_resampled(at[1], random))
    if np.isnan(value):
        return Measured(None, None, None)
    low, high = (np.sort(np.where(np.isnan(drawn), end, drawn)) for end in (0.0, math.inf))
    return Measured(float(value), float(low[LOW]), float(high[HIGH]))


LARGEST = 700.0  # nats, whose exponential still is a number
OF_LOSS = {"perplexity": lambda nats: math.exp(min(nats, LARGEST)), "bits": lambda nats: nats / math.log(2)}


def _value(row: Row, run: Mapping[str, Any]) -> float | None:
    if row.measure in OF_LOSS:
        return None if run["loss"] is None else OF_LOSS[row.measure](run["loss"])
    return run[row.measure] if row.grade is None else run.get("grades", {}).get(row.grade)


def _resampled(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """So many seeds anew, with replacement, RESAMPLES times."""
    return values[random.integers(len(values), size=(RESAMPLES, len(values)))]


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
    """'reproduced', 'better', 'not reproduced' or 'unclear: why'; no verdict of a smoke budget."""
    if budget == "smoke":
        return "no verdict (smoke)"
    cut = budget == "cpu" and bool(row.cpu)
    return weighed(found, row.published, row.tolerance, cut, less_is_better=row.measure in LESS_IS_BETTER)


def weighed(found: Measured, published: float | None, tolerance: float, cut: bool, *, less_is_better: bool) -> str:
    """What was measured against a published number.

    Reproduced: the published number lies in the interval, or within the tolerance of the median. An interval
    without an upper end, as too many seeds never solved the task, holds every large number and decides nothing.

    cut: whether the budget was smaller than the paper's
    """
    if published is None:
        return "unclear: the paper gives no number"
    if found.value is None:
        return "not reproduced: no finite value"
    near = abs(found.value - published) <= tolerance * abs(published)
    inside = found.low <= published <= found.high
    if inside and not near and found.high == math.inf:
        return "unclear: the interval has no upper end, as seeds never solve it"
    if near or inside:
        return "reproduced"
    better = found.value < published if less_is_better else found.value > published
    return ("better" if better else "not reproduced") + " (with a smaller budget)" * cut


def decisive(
    row: Row, paper: str, results: Mapping[tuple[str, str, str], dict[str, Any]]
) -> tuple[str, dict[str, Any]] | None:
    """The largest budget at which a row was run, and its result; None if none of those that decide was.

    results: as `read_results` gives them
    """
    found = [budget for budget in BUDGETS[1:] if (paper, row.name, budget) in results]
    return (found[-1], results[paper, row.name, found[-1]]) if found else None


def at_best(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The seeds of a kept result at its best learning rate."""
    return [run for run in result["runs"] if run["learning_rate"] == result["best_learning_rate"]]


def judged(row: Row, budget: str, result: Mapping[str, Any]) -> tuple[Measured, str]:
    """What a kept result measured, and the verdict on it: none if its settings are not the row's any more."""
    runs = at_best(result)
    found = measured(row, runs, result["config"]["batch_size"])
    other = outdated(row, budget, result)
    words = f"unclear: the row has another {', '.join(other)} now" if other else verdict(row, found, budget)
    return found, words


def outdated(row: Row, budget: str, result: Mapping[str, Any]) -> list[str]:
    """What decides a row's numbers and is not what a kept result was made with."""
    return changed(row, budget, result["config"], any(run["status"] == "solved" for run in result["runs"]))


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


def published(claim: Row | Comparison) -> str:
    """A published number with the mark of its source, as text."""
    return "curves only" if claim.published is None else f"{short(claim.published)} [{claim.source}]"


def interval(found: Measured) -> str:
    """A median and its interval, as text."""
    if found.value is None:
        return "-"
    text = [("never" if value == math.inf else short(value)) for value in found]
    return text[0] + (f" [{text[1]}..{text[2]}]" if text[1] != text[2] else "")

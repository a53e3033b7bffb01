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

    value, low, high: in the unit of the row's measure; inf, or -inf where more is better, of seeds that never
                      solved the task or diverged; None where no seed has a number
    """

    value: float | None
    low: float | None
    high: float | None


NOTHING_MEASURED = Measured(None, None, None)


def measured(row: Row, runs: Sequence[Mapping[str, Any]], batch_size: int) -> Measured:
    """The median over seeds and its percentile interval of 95 % over 10,000 resamples. (Efron 1979)

    A seed without a number, as it never solved the task or diverged, counts as worse than any. The interval of
    few seeds is their range, which covers the true median less often than its name says: see `coverage`.
    A share of seeds ('solved') has the interval of Wilson (1927) instead. The resampling is seeded: the
    same runs give the same interval.
    """
    if row.measure == "solved":
        return _wilson(sum(run["status"] == "solved" for run in runs), len(runs))
    numbers = [_value(row, run, batch_size) for run in runs]
    if row.measure != "sequences" and all(number is None for number in numbers):
        return NOTHING_MEASURED
    sign = 1 if row.measure in LESS_IS_BETTER else -1
    values = np.array([math.inf if number is None else sign * number for number in numbers])
    medians = np.sort(_medians(values[_resampled(len(values), np.random.default_rng(0))]))
    low, high = (sign * float(medians[place]) for place in (LOW, HIGH)[::sign])
    return Measured(sign * float(_medians(values[None])[0]), low, high)


def coverage(seeds: int) -> float:
    """How often the range of n seeds, which no interval of theirs exceeds, covers the true median: 1 - 2^(1-n)."""
    return 1 - 2.0 ** (1 - seeds)


def times_slower(slower: Mapping[str, Any], faster: Mapping[str, Any]) -> Measured:
    """The ratio of the medians of steps to solve, of the seeds of two kept results, and its interval by the bootstrap.

    A seed that never solved the task needs more steps than it had: at the low end of the interval as many as it
    had, at the high end any number. The ratio itself is then inf, which is more than the low end; where the
    faster does not solve the task, it is None.
    """

    def steps(result: Mapping[str, Any], unsolved: float) -> np.ndarray:
        return np.array([run["solved_at"] or unsolved for run in at_best(result)], float)

    ends = (slower["config"]["steps"], math.inf), (math.inf, faster["config"]["steps"])
    found = [(steps(slower, of_slower), steps(faster, of_faster)) for of_slower, of_faster in ends]
    random = np.random.default_rng(0)
    drawn = [_resampled(len(values), random) for values in found[0]]
    low, high = (np.sort(_medians(above[drawn[0]]) / _medians(below[drawn[1]])) for above, below in found)
    if np.isinf(_medians(found[0][1][None])[0]):
        return NOTHING_MEASURED
    value = _medians(found[1][0][None])[0] / _medians(found[1][1][None])[0]
    return Measured(float(value), float(low[LOW]), float(high[HIGH]))


LARGEST = 700.0  # nats, whose exponential still is a number
OF_LOSS = {"perplexity": lambda nats: math.exp(min(nats, LARGEST)), "bits": lambda nats: nats / math.log(2)}


def _value(row: Row, run: Mapping[str, Any], batch_size: int) -> float | None:
    if row.measure == "sequences":
        return None if run["solved_at"] is None else run["solved_at"] * batch_size
    if run["status"] == "diverged":
        return None
    if row.measure in OF_LOSS:
        return None if run["loss"] is None else OF_LOSS[row.measure](run["loss"])
    return run[row.measure] if row.grade is None else run.get("grades", {}).get(row.grade)


def _resampled(seeds: int, random: np.random.Generator) -> np.ndarray:
    """Which of so many seeds are drawn anew, with replacement, RESAMPLES times."""
    return random.integers(seeds, size=(RESAMPLES, seeds))


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


def verdict(row: Row, found: Measured, budget: str, cut: bool = False) -> str:
    """'reproduced', 'better', 'not reproduced' or 'unclear: why'; no verdict of a smoke budget."""
    if budget == "smoke":
        return "no verdict (smoke)"
    return weighed(found, row.published, row.within, cut, less_is_better=row.measure in LESS_IS_BETTER)


def weighed(found: Measured, published: float | None, tolerance: float, cut: bool, *, less_is_better: bool) -> str:
    """What was measured against a published number.

    Reproduced: the published number lies in the interval, or within the tolerance of the median. An interval
    with an open end, as too many seeds never solved the task or diverged, holds every number on that side and
    decides nothing.

    cut: whether fewer steps, seeds or rates were run than the row has
    """
    if published is None:
        return "unclear: there is no published number"
    if found.value is None:
        return "not reproduced: no finite value"
    near = abs(found.value - published) <= tolerance * abs(published)
    inside = found.low <= published <= found.high
    if inside and not near and math.inf in (found.high, -found.low):
        return OPEN
    less = SMALLER * cut
    if near or inside:
        return "reproduced" + less
    better = found.value < published if less_is_better else found.value > published
    return ("better" if better else "not reproduced") + less


OPEN = "unclear: the interval has no end, as seeds never solve the task or diverge"
SMALLER = " (with a smaller budget)"


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
    words = verdict(row, found, budget, bool(fewer(row, result["config"])))
    return found, f"unclear: the row has another {', '.join(other)} now" if other else words


def fewer(row: Row, config: Mapping[str, Any]) -> list[str]:
    """What a result was made with less of than the row has: 'steps 3000 of 50000'."""
    both = {name: (config[name], row.settings[name]) for name in ("steps", "seeds") if name in row.settings}
    both["learning rates"] = len(config["learning_rates"]), len(row.settings["learning_rates"])
    return [f"{name} {had:g} of {whole:g}" for name, (had, whole) in both.items() if had < whole]


def outdated(row: Row, budget: str, result: Mapping[str, Any]) -> list[str]:
    """What decides a row's numbers and is not what a kept result was made with."""
    return changed(row, budget, result["config"], any(run["status"] == "solved" for run in result["runs"]))


# how many seeds is shown
DECIDES_NOTHING = ("probe_every", "probe_size", "checkpoint_every", "stop_when_decided", "seeds")


def changed(row: Row, budget: str, config: Mapping[str, Any], solved: bool = True) -> list[str]:
    """What decides a row's numbers and is not what a result was made with; a smoke budget decides none.

    solved: whether any run solved the task; where none did, it decides nothing that one would have stopped there
    """
    if budget == "smoke":
        return []
    # a setting that the row does not name, or a record that is older than it, has its default
    wanted, made = (dict(row.defaults) | given for given in ({"cell": row.cell} | row.settings_at(budget), config))
    idle = DECIDES_NOTHING if solved else (*DECIDES_NOTHING, "stop_when_solved")
    other = [name for name in wanted if name not in idle and _plain(wanted[name]) != _plain(made.get(name))]
    elsewhere = re.escape(row.task_on("PLACE")).replace("PLACE", ".*")
    return other + ([] if re.fullmatch(elsewhere, config["task"]) else ["task"])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def published(claim: Row | Comparison) -> str:
    """A published number with the mark of its source, as text."""
    return "-" if claim.published is None else f"{claim.published:.7g} [{claim.source}]"


def interval(row: Row, found: Measured) -> str:
    """A median and its interval, as text."""
    if found.value is None:
        return "-"
    without = "never" if row.measure == "sequences" else "diverged"
    text = [without if math.isinf(value) else short(value) for value in found]
    return text[0] + (f" [{text[1]}..{text[2]}]" if text[1] != text[2] else "")

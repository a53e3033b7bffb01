"""Medians over the seeds of a row, their intervals, and the ratio of two rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqjax.papers.row import LESS_IS_BETTER, Row

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

    A seed without a number, as it never solved the task or diverged, with nothing selected before, counts as worse
    than any. The interval of few seeds is their range, which covers the true median less often than its name says:
    see `coverage`. A share of seeds ('solved') has the interval of Wilson (1927) instead. The resampling is seeded:
    the same runs give the same interval.
    """
    if row.measure == "solved":
        return _wilson(sum(run["status"] == "solved" for run in runs), len(runs))
    numbers = [_value(row, run, batch_size) for run in runs]
    if row.measure != "sequences" and all(number is None for number in numbers):
        return NOTHING_MEASURED
    sign = 1 if row.measure in LESS_IS_BETTER else -1
    values = np.array([math.inf if number is None else sign * number for number in numbers], float)
    medians = np.sort(_medians(values[_resampled(len(values), np.random.default_rng(0))]))
    low, high = (sign * float(medians[place]) for place in (LOW, HIGH)[::sign])
    return Measured(sign * float(_medians(values)), low, high)


def coverage(seeds: int) -> float:
    """How often the range of n seeds, which no interval of theirs exceeds, covers the true median: 1 - 2^(1-n)."""
    return 1 - 2.0 ** (1 - seeds)


def at_rate(result: Mapping[str, Any], rate: float) -> list[dict[str, Any]]:
    """The seeds of a kept result at a learning rate."""
    return [run for run in result["runs"] if run["learning_rate"] == rate]


def at_best(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The seeds of a kept result at its best learning rate."""
    return at_rate(result, result["best_learning_rate"])


def times_slower(slower: Mapping[str, Any], faster: Mapping[str, Any]) -> Measured:
    """The ratio of the medians of steps to solve, of the seeds of two kept results, and its interval by the bootstrap.

    A seed that never solved the task needs more steps than it had: at the low end of the interval as many as it
    had, at the high end any number. The ratio itself is then inf, which is more than the low end; where the
    faster does not solve the task, it is None.
    """

    def steps(result: Mapping[str, Any], unsolved: float) -> np.ndarray:
        return np.array([unsolved if run["solved_at"] is None else run["solved_at"] for run in at_best(result)], float)

    above = [steps(slower, unsolved) for unsolved in (slower["config"]["steps"], math.inf)]
    below = [steps(faster, unsolved) for unsolved in (math.inf, faster["config"]["steps"])]
    middle = _medians(below[0])
    if np.isinf(middle):
        return NOTHING_MEASURED
    random = np.random.default_rng(0)
    of_above, of_below = (_resampled(len(values), random) for values in (above[0], below[0]))
    low, high = (np.sort(_medians(a[of_above]) / _medians(b[of_below])) for a, b in zip(above, below))
    return Measured(float(_medians(above[1]) / middle), float(low[LOW]), float(high[HIGH]))


def without_memory(row: Row, result: Mapping[str, Any]) -> float | None:
    """What the best guess without memory has of a row's measure; None of one that is not made of the loss."""
    return OF_LOSS[row.measure](result["baseline"]) if row.measure in OF_LOSS else None


LARGEST = 700.0  # nats, whose exponential still is a number
OF_LOSS = {
    "loss": lambda loss: loss,
    "perplexity": lambda nats: math.exp(min(nats, LARGEST)),
    "bits": lambda nats: nats / math.log(2),
}


def _value(row: Row, run: Mapping[str, Any], batch_size: int) -> float | None:
    if row.measure == "sequences":
        return None if run["solved_at"] is None else run["solved_at"] * batch_size
    if run["status"] == "diverged" and run.get("selected_at") is None:
        return None
    if row.measure in OF_LOSS:
        return None if run["loss"] is None else OF_LOSS[row.measure](run["loss"])
    return run[row.measure] if row.grade is None else run.get("grades", {}).get(row.grade)


def _resampled(seeds: int, random: np.random.Generator) -> np.ndarray:
    """Which of so many seeds are drawn anew, with replacement, RESAMPLES times."""
    return random.integers(seeds, size=(RESAMPLES, seeds))


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians over the last axis, the upper of two middle ones where their mean is not defined."""
    ordered, middle = np.sort(values, -1), values.shape[-1] // 2
    if values.shape[-1] % 2:
        return ordered[..., middle]
    low, high = ordered[..., middle - 1], ordered[..., middle]
    finite = np.isfinite(low) & np.isfinite(high)
    return np.where(finite, (np.where(finite, low, 0) + np.where(finite, high, 0)) / 2, high)


def _wilson(solved: int, seeds: int) -> Measured:
    z = 1.96  # of 95 %
    share, square = solved / seeds, z * z / seeds
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / seeds + square / (4 * seeds)) / (1 + square)
    return Measured(share, max(0.0, middle - half), min(1.0, middle + half))

"""Times taken side by side: each way once in turn, so that what else the machine does disturbs all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Times = dict[str, list[float]]


def interleaved(ways: dict[str, Callable[[], object]], repeats: int, show: Callable[[int, str, str], None]) -> Times:
    """Milliseconds of each way at each repetition, after one run of each that does not count.

    Args:
        ways: name -> a call that returns when its work is done.
        repeats: times each is timed.
        show: (calls done, what was timed, '') -> None, told after each.
    """
    for way in ways.values():
        way()
    times: Times = {name: [] for name in ways}
    for repeat in range(repeats):
        for number, (name, way) in enumerate(ways.items()):
            start = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - start))
            show(repeat * len(ways) + number + 1, name, "")
    return times


def ratios(times: Times, peer: str) -> dict[str, list[float]]:
    """Each way's time over the peer's, repetition by repetition."""
    return {name: [a / b for a, b in zip(each, times[peer])] for name, each in times.items()}


def spread(values: list[float]) -> str:
    """Median [least..most]."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"

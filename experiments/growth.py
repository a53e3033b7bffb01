"""How time, memory and compilation grow with the length of a sequence, and time with the number of runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments import peers
from experiments.progress import progress_bar
from experiments.timing import Times, interleaved
from experiments.ways import problem
from seqjax.training import Config, prepare
from seqjax.training.preparing import initialize


def with_length(
    kind: str, size: tuple[int, int, int], lengths: list[int], only: list[str], repeats: int, budget: float
) -> dict[str, Any]:
    """Milliseconds of a forward pass and gradient, seconds of compilation, and bytes, by length and way.

    A length is left out, and said to be, where by the one before it would go past the budget or past half of
    the memory that is free.

    Args:
        kind: 'lstm', 'gru' or 'rnn'.
        size: B, D, H.
        lengths: T, ascending.
        only: how the names of the ways begin; all ways if empty.
        repeats: times each is timed.
        budget: seconds for all of it.
    """
    begin, found, last = time.perf_counter(), {}, {}
    for length in lengths:
        row, there, planned = {}, {}, 0.0
        for name in peers.names(only):
            before, left = last.get(name), budget - (time.perf_counter() - begin) - planned
            why = _too_much(before, length, repeats, left)
            if why:
                row[name] = {"missing": why}
                continue
            planned += _seconds(before, length, repeats)
            way = peers.way_of(name, problem(kind, (length, *size)), ["gradient"])
            if isinstance(way, str):
                row[name] = {"missing": way}
            else:
                there[name] = way
        calls = {f"T={length}, {name}": way.calls["gradient"] for name, way in there.items()}
        with progress_bar(repeats * len(calls)) as show:
            times = dict(zip(there, interleaved(calls, repeats, show).values()))
        for name, way in there.items():
            row[name] = {"milliseconds": times[name]}
            row[name] |= {"seconds": way.seconds["gradient"], "bytes": way.bytes["gradient"]} if way.seconds else {}
            last[name] = (length, row[name])
        found[str(length)] = row
    return {"layer": kind, "size": list(size), "lengths": found}


def _too_much(before: tuple[int, dict[str, Any]] | None, length: int, repeats: int, seconds: float) -> str | None:
    """Why a length is left out, judged by a shorter one and the seconds that are left."""
    if _seconds(before, length, repeats) >= seconds:
        return "not within the budget"
    if before is None:
        return None
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = length / before[0] * before[1].get("bytes", 0)
    return f"would need {needed / 2**30:.1f} GiB" if needed > free / 2 else None


def _seconds(before: tuple[int, dict[str, Any]] | None, length: int, repeats: int) -> float:
    """What a length will take, judged by a shorter one; 0 where there is none."""
    return 0.0 if before is None else length / before[0] * (repeats + 1) * min(before[1]["milliseconds"]) / 1e3


def with_runs(
    config: Config, counts: list[int], steps: int, repeats: int, show: Callable[[int, str, str], None]
) -> Times:
    """Milliseconds of a training step of so many runs together, interleaved."""
    ways = {str(count): training(config._replace(seeds=count), "auto", steps) for count in counts}
    return {name: [each / steps for each in times] for name, times in interleaved(ways, repeats, show).items()}


def training(config: Config, mesh: str, steps: int) -> Callable[[], object]:
    """So many training steps of all runs, compiled."""
    prepared = prepare(config, mesh)
    layout = prepared.layout
    state, data = layout.put(initialize(prepared)), layout.put(prepared.program.data, shared=True)
    count = np.int32(steps)
    return lambda: prepared.compiled.train(state, count, data).step.block_until_ready()

"""Times taken side by side: each way once in turn, so that what else the machine does disturbs all alike."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

Times = dict[str, list[float]]


def compiled(function: Callable, *at: object) -> tuple[jax.stages.Compiled, float]:
    """The program of a function for arguments like these, and the seconds it took to trace and compile."""
    start = time.perf_counter()
    with _no_cache():
        program = jax.jit(function).lower(*at).compile()
    return program, time.perf_counter() - start


def bytes_of(program: jax.stages.Compiled) -> int:
    """What a program needs beside its arguments, for what it gives and on the way, as the compiler plans it."""
    sizes = program.memory_analysis()
    return sizes.temp_size_in_bytes + sizes.output_size_in_bytes


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """Nothing compiled comes from an earlier process."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def interleaved(ways: dict[str, Callable[[], object]], repeats: int, show: Callable[[int, str, str], None]) -> Times:
    """Milliseconds of each way at each repetition, after one run of each that does not count.

    The order is drawn anew for each repetition, as one way leaves its threads, and the caches, to the next.

    Args:
        ways: name -> a call that returns when its work is done.
        repeats: times each is timed.
        show: (calls done, what was timed, '') -> None, told after each.
    """
    for way in ways.values():
        way()
    times: Times = {name: [] for name in ways}
    order, drawn = list(ways), random.Random(0)
    for repeat in range(repeats):
        drawn.shuffle(order)
        for number, name in enumerate(order):
            start = time.perf_counter()
            ways[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
            show(repeat * len(ways) + number + 1, name, "")
    return times


def ratios(times: Times, peer: str) -> dict[str, list[float]]:
    """Each way's time over the peer's, repetition by repetition."""
    return {name: [a / b for a, b in zip(each, times[peer])] for name, each in times.items()}


def spread(values: list[float]) -> str:
    """Median [least..most]."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"

"""How long the layouts of the run axis take, against separate runs."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from experiments.timing import Times, interleaved
from seqjax.training import Config, prepare
from seqjax.training.loop import initialize


def layout_times(
    config: Config, runs: int, layouts: list[str], steps: int, repeats: int, show: Callable[[int, str, str], None]
) -> Times:
    """Milliseconds a training step by layout; 'separate' trains the runs one by one with one run's program."""
    ways = {layout: _timed(config, layout, steps) for layout in layouts}
    one = _timed(config._replace(seeds=1), "map", steps)
    ways["separate"] = lambda: [one() for _ in range(runs)]
    ways["one run"] = one
    found = interleaved(ways, repeats, show)
    return {name: [each / steps for each in times] for name, times in found.items()}


def _timed(config: Config, layout: str, steps: int) -> Callable[[], object]:
    """So many steps of all runs, compiled."""
    prepared = prepare(config, layout)
    state = initialize(prepared)
    chunk = prepared.layout.over(prepared.program.chunk)
    count = jnp.asarray(steps, jnp.int32)
    return lambda: chunk(state, count, prepared.program.data)[0].step.block_until_ready()

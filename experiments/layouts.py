"""How long the layouts of the run axis take, against separate runs."""

from __future__ import annotations

from collections.abc import Callable

from experiments.growth import training
from experiments.timing import Times, interleaved
from seqjax.training import Config


def layout_times(
    config: Config, runs: int, layouts: list[str], steps: int, repeats: int, show: Callable[[int, str, str], None]
) -> Times:
    """Milliseconds a training step by layout; 'separate' trains the runs one by one with one run's program.

    'map' and 'vmap' keep all runs on one device; 'sharded' deals them out over all of them, as is usual.
    """
    meshes = {layout: "auto" if layout == "sharded" else f"run=1,{layout}" for layout in layouts}
    ways = {layout: training(config, mesh, steps) for layout, mesh in meshes.items()}
    one = training(config._replace(seeds=1), "run=1,map", steps)
    ways["separate"] = lambda: [one() for _ in range(runs)]
    ways["one run"] = one
    found = interleaved(ways, repeats, show)
    return {name: [each / steps for each in times] for name, times in found.items()}

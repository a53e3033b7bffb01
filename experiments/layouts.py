"""How long the layouts of the run axis take, against separate runs."""

from __future__ import annotations

from collections.abc import Callable

from experiments.growth import training
from experiments.timing import Times, interleaved
from seqjax.training import Config

MESHES = {
    "sharded": "auto",
    "sharded map": "auto,map",
    "sharded vmap": "auto,vmap",
    "map": "run=1,map",
    "vmap": "run=1,vmap",
}


def layout_times(
    config: Config, runs: int, layouts: list[str], steps: int, repeats: int, show: Callable[[int, str, str], None]
) -> Times:
    """Milliseconds a training step by layout; 'separate' trains the runs one by one with one run's program.

    'map' and 'vmap' keep all runs on one device; 'sharded' deals them out over all of them, which lie there as is
    usual for their size, or as 'sharded map' and 'sharded vmap' say. MESHES has these names.
    """
    meshes = {layout: MESHES[layout] for layout in layouts}
    ways = {layout: training(config, mesh, steps) for layout, mesh in meshes.items()}
    one = training(config._replace(seeds=1), "run=1,map", steps)
    ways["separate"] = lambda: [one() for _ in range(runs)]
    ways["one run"] = one
    found = interleaved(ways, repeats, show)
    return {name: [each / steps for each in times] for name, times in found.items()}

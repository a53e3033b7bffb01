"""How the run axis lies on the devices: side by side, one after the other, or shared out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from seqjax.types import PyTree, UserError

Kind = Literal["auto", "vmap", "map", "sharded"]


class Layout(NamedTuple):
    """The places of the run axis, and what makes a function of one run one of all.

    slots: for each place, the number of its run, or -1 where the place only fills up the axis
    over:  a function (run, *shared) -> results, made to take and give a leading axis of places
    kind:  what was chosen
    """

    slots: np.ndarray
    over: Callable[[Callable], Callable]
    kind: str


def make_layout(kind: Kind, runs: int, branches: bool = False) -> Layout:
    """Lay out so many runs on the devices at hand.

    'vmap':    all runs in one batched program; what an accelerator is good at.
    'map':     one after the other in one program; each run has the device to itself, and one that
               has ended costs nothing.
    'sharded': the runs are dealt out over all devices; on each, 'map' on a CPU and 'vmap' elsewhere.
    'auto':    'sharded' where there are several devices and several runs; otherwise 'map' on a CPU
               and 'vmap' on an accelerator, but 'map' where the program branches.

    branches: the program chooses while it runs among several that it holds (batches cut to their length),
    all of which a batched program would compute.

    `python -m experiments.speed` measures them against separate runs.

    Raises:
        UserError: an unknown kind.
    """
    devices = jax.devices()
    on_cpu = devices[0].platform == "cpu"
    alone = "map" if on_cpu or branches else "vmap"
    if kind == "auto":
        kind = "sharded" if len(devices) > 1 and runs > 1 else alone
    if kind not in ("vmap", "map", "sharded"):
        raise UserError(f"--layout={kind!r}; expected 'auto', 'vmap', 'map' or 'sharded'")
    if kind != "sharded":
        return Layout(np.arange(runs), lambda function: jax.jit(_on_one(function, kind)), kind)
    count = min(len(devices), runs)
    mesh = Mesh(np.array(devices[:count]), ("run",))
    rounds = -(-runs // count)
    dealt = np.arange(rounds * count).reshape(rounds, count).T.ravel()  # neighbours on different devices

    def over(function: Callable) -> Callable:
        def spread(state: PyTree, *shared: PyTree) -> PyTree:
            split = jax.shard_map(
                _on_one(function, alone),
                mesh=mesh,
                in_specs=(P("run"), *(P() for _ in shared)),
                out_specs=P("run"),
                check_vma=False,
            )
            return split(state, *shared)

        return jax.jit(spread)

    return Layout(np.where(dealt < runs, dealt, -1), over, kind)


def _on_one(function: Callable, kind: str) -> Callable:
    def over_axis(state: PyTree, *shared: PyTree) -> PyTree:
        if kind == "vmap":
            return jax.vmap(lambda run: function(run, *shared))(state)
        return jax.lax.map(lambda run: function(run, *shared), state)

    return over_axis

"""How the runs of a program lie on a mesh of devices, and how numbers get there and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from seqjax.training.mesh import make_mesh
from seqjax.types import PyTree


class Layout(NamedTuple):
    """The places of the run axis, and what makes a function of one run one of all.

    mesh:  the devices, axes `run` and `data`
    by:    'map' or 'vmap': whether runs that share a device are trained one after the other, where
           one that has ended costs nothing, or in one batch
    slots: for each place, the number of its run, or -1 where the place only fills up the axis
    """

    mesh: Mesh
    by: str
    slots: np.ndarray

    def over(self, function: Callable) -> Callable:
        """A function (run, *shared) -> results, made to take and give a leading axis of places.

        Runs are dealt out along `run`. Every device along `data` is given the same run, and must
        come to the same results: see `split_model`, which divides the work on a batch among them.
        """

        def each(state: PyTree, *shared: PyTree) -> PyTree:
            if self.by == "vmap":
                return jax.vmap(lambda run: function(run, *shared))(state)
            return jax.lax.map(lambda run: function(run, *shared), state)

        def spread(state: PyTree, *shared: PyTree) -> PyTree:
            specs = (P("run"), *(P() for _ in shared))
            return jax.shard_map(each, mesh=self.mesh, in_specs=specs, out_specs=P("run"), check_vma=False)(
                state, *shared
            )

        return jax.jit(each if self.mesh.size == 1 else spread)

    def put(self, tree: PyTree, shared: bool = False) -> PyTree:
        """Arrays that every process holds, as arrays on the mesh: along its run axis, or whole on each device."""
        sharding = NamedSharding(self.mesh, P() if shared else P("run"))
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)

        def one(leaf: PyTree) -> jax.Array:
            leaf = np.asarray(leaf)
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

        return jax.tree.map(one, tree)

    def meet(self) -> None:
        """Let all processes, and those whose devices share a batch, connect now, while they wait for each other.

        Gloo gives up half a minute after the first of a group has come to its first exchange, and what they do
        next, to compile, may take one of them longer than that.
        """
        if jax.process_count() > 1:
            self.get(self.over(lambda run: jax.lax.psum(run, "data"))(self.put(np.zeros(len(self.slots), np.float32))))

    def get(self, tree: PyTree) -> PyTree:
        """What `over` gave, as NumPy arrays in every process."""
        if jax.process_count() > 1:
            tree = jax.jit(lambda tree: tree, out_shardings=NamedSharding(self.mesh, P()))(tree)
        return jax.device_get(tree)


def make_layout(mesh: str, runs: int, batch_size: int, usual: str = "map") -> Layout:
    """Lay so many runs out on the devices that --mesh names, as `make_mesh` says, which raises UserError.

    `python -m experiments.speed` measures the ways against separate runs.
    """
    devices, by = make_mesh(mesh, runs, batch_size, usual)
    count = devices.shape["run"]
    rounds = -(-runs // count)
    dealt = np.arange(rounds * count).reshape(rounds, count).T.ravel()  # neighbours on different devices
    return Layout(devices, by, np.where(dealt < runs, dealt, -1))

"""Which devices train what: the axes `run` (seeds x learning rates) and `data` (the batch) of --mesh."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from seqjax.spec import did_you_mean, parse
from seqjax.types import UserError

AXES = ("run", "data")
WAYS = ("map", "vmap")
FORM = "expected 'auto', or axes as in 'run=4,data=2', and 'map' or 'vmap' beside them"


class Wanted(NamedTuple):
    """What --mesh asks for; None where it leaves the choice.

    run, data: devices along the axis
    by:        how runs that share a device lie on it
    """

    run: int | None = None
    data: int | None = None
    by: str | None = None


def read_mesh(text: str) -> Wanted:
    """'run=4,data=2,vmap' -> Wanted(4, 2, 'vmap'); 'auto' leaves everything open.

    Raises:
        UserError: an axis of another name, or anything but whole numbers from 1.
    """
    where = f"--mesh={text!r}"
    words = [word.strip() for word in text.split(",")]
    ways = [word for word in words if word in WAYS]
    axes = [word for word in words if word not in (*WAYS, "auto")]
    if len(ways) > 1 or any("=" not in word for word in axes) or len(set(words)) < len(words):
        raise UserError(f"{where}; {FORM}")
    try:
        sizes = parse(f"mesh({','.join(axes)})").arguments
    except UserError as error:
        raise UserError(f"{where}: {error}; {FORM}") from error
    for name, size in sizes.items():
        if name not in AXES:
            raise UserError(f"{where}: no axis {name!r}{did_you_mean(name, AXES)}axes: {', '.join(AXES)}")
        if type(size) is not int or size < 1:
            raise UserError(f"{where}: {name}={size!r}; expected a whole number of devices from 1")
    return Wanted(**sizes, by=ways[0] if ways else None)


def make_mesh(text: str, runs: int, batch_size: int, usual: str = "map") -> tuple[Mesh, str]:
    """The devices [run, data] for so many runs, and how those that share one lie on it: 'map' or 'vmap'.

    Left open, `run` takes a device for every run as far as they go, and `data` is 1: a batch that is
    split differs in its last bits, and a small one is no faster. Over several processes what the runs
    leave idle splits the batch all the same, as every process must take part. Runs that share a device
    lie on it one after the other ('map') or side by side in one batch ('vmap'): left open, as `usual` says.

    Devices of one process stand next to each other along `data`, where most is communicated.

    Raises:
        UserError: what `read_mesh` raises; more devices than there are; a batch that does not divide; a
            process that would have nothing to do.
    """
    wanted, devices = read_mesh(text), jax.devices()
    count = len(devices)
    data = wanted.data or 1
    run = wanted.run or max(1, min(count // data, runs))
    if wanted.data is None and jax.process_count() > 1:
        data = max(n for n in range(1, batch_size + 1) if batch_size % n == 0 and n * run <= max(count, run))
    if run * data > count:
        simulate = f"; JAX_NUM_CPU_DEVICES={run * data} simulates them" if devices[0].platform == "cpu" else ""
        raise UserError(
            f"--mesh={text!r} needs {run * data} devices, run={run} x data={data}; there are {count}{simulate}"
        )
    if batch_size % data:
        raise UserError(f"--batch_size={batch_size} does not divide into data={data} of --mesh={text!r}")
    chosen = devices[: run * data]
    idle = sorted({device.process_index for device in devices} - {device.process_index for device in chosen})
    if idle:
        raise UserError(
            f"--mesh={text!r} takes {run * data} of {count} devices and leaves process {', '.join(map(str, idle))} "
            "without any; expected a mesh over all processes"
        )
    return Mesh(np.array(chosen).reshape(run, data), AXES), wanted.by or usual

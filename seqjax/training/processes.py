"""Many processes, one program: how they find each other, who writes, and how they agree."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import socket
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
import numpy as np

from seqjax.types import UserError

# By what a process knows that it is one of several, which JAX then finds by itself: variables that are all set,
# the last of which tells how many there are, if any does.
CLUSTERS = {
    "Slurm": ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"),
    "Open MPI": ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
    "Cloud TPU": (),
}


LEAST_PATIENCE = 300  # seconds; nodes start at different times


def cluster(environment: Mapping[str, str] = os.environ) -> str | None:
    """Which cluster started this process as one of several; None where none did, and there is nobody to wait for.

    A Kubernetes job counts as one of several where it is indexed. On a Cloud TPU JAX asks the machine itself,
    and joins one host as well as many.
    """
    if importlib.util.find_spec("libtpu") and (glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")):
        return "Cloud TPU"
    for name, variables in CLUSTERS.items():
        present = variables and all(environment.get(variable) for variable in variables)
        if present and (name == "Kubernetes" or int(environment[variables[-1]]) > 1):
            return name
    return None


def join(coordinator: str | None, count: int | None, number: int | None, timeout: int) -> None:
    """Make this process one of several, by what is given or by what the cluster tells; alone, do nothing.

    To be called before JAX has a device. On CPUs the processes talk by Gloo.

    Args:
        coordinator: host:port of process 0, which listens there.
        count: how many processes there are; 1 alone for a process by itself, whatever the cluster.
        number: which of them this is, from 0.
        timeout: seconds after which one that is silent counts as dead, and ends all others; also how long
            they wait for each other at the start, at least five minutes.

    Raises:
        UserError: some of the three without the others; a number outside 0 ... count - 1; nobody there.
    """
    given = {"--coordinator": coordinator, "--num_processes": count, "--process_id": number}
    missing = [flag for flag, value in given.items() if value is None]
    if count == 1 and len(missing) == 2:
        return
    if 0 < len(missing) < 3:
        raise UserError(
            f"{' and '.join(missing)} missing; a run over processes needs {', '.join(given)}, or none where "
            f"{', '.join(CLUSTERS)} tell"
        )
    if missing and cluster() is None:
        return
    if not missing:
        if ":" not in coordinator or not coordinator.rpartition(":")[2].isdigit():
            raise UserError(f"--coordinator={coordinator!r}; expected host:port of process 0, as 10.0.0.1:1234")
        if count < 1 or not 0 <= number < count:
            raise UserError(f"--process_id={number} --num_processes={count}; expected a number from 0 to {count - 1}")
    if timeout < 1:
        raise UserError(f"--peer_timeout={timeout}; expected seconds, at least 1")
    patience = max(timeout, LEAST_PATIENCE)
    if not missing:
        _reach(coordinator, count, number, patience)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator,
            count,
            number,
            initialization_timeout=patience,
            heartbeat_timeout_seconds=timeout,
            shutdown_timeout_seconds=timeout,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the processes did not find each other ({cluster() or coordinator}): {reason}") from error


def _reach(coordinator: str, count: int, number: int, seconds: float) -> None:
    """Find out whether the coordinator can be, before JAX does, which ends the process where it cannot."""
    host, port = coordinator.rsplit(":", 1)
    if number == 0:
        try:
            socket.create_server(("", int(port))).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"--coordinator={coordinator!r}: this process cannot listen there: {error}") from error
        print(f"waiting up to {seconds} s for {count - 1} more to come to {coordinator}", file=sys.stderr, flush=True)
        return
    end = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        except (OSError, OverflowError) as error:
            if time.monotonic() > end:
                raise UserError(f"--coordinator={coordinator!r}: no process 0 there in {seconds} s: {error}") from error
            time.sleep(0.2)


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def several() -> bool:
    """Whether this process has joined others."""
    return jax.distributed.is_initialized()


def leave(error: Exception, reason: str | None = None) -> NoReturn:
    """End this process at once, with the reason; the others, which cannot go on without it, notice.

    What JAX does at an ordinary end waits for the others, one of which may be dead.
    """
    if reason is None and (isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)):
        reason = "another one has ended or cannot be reached: " + textwrap.shorten(str(error), 300)
    elif reason is None:
        reason = "".join(traceback.format_exception(error))
    me = f"process {jax.process_index()} of {jax.process_count()}"
    print(f"error: {me} ends, as {reason}; the same commands with --resume continue", file=sys.stderr, flush=True)
    os._exit(1)


def by_first(action: Callable[[], Any]) -> Any:
    """Do it in the first process alone; all get what it gave, plain values, or its UserError."""
    if jax.process_count() == 1:
        return action()
    told: dict[str, Any] = {}
    if is_first():
        try:
            told = {"value": action()}
        except UserError as error:
            told = {"error": str(error)}
    told = json.loads(_broadcast(json.dumps(told).encode()))
    if "error" in told:
        raise UserError(told["error"])
    return told["value"]


def any_of(flag: bool) -> bool:
    """Whether it is true in one of the processes; all get the same answer, and must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental.multihost_utils import process_allgather

    return bool(np.any(process_allgather(np.asarray(flag))))


def _broadcast(text: bytes) -> bytes:
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(text))))
    sent = np.frombuffer(text, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return np.asarray(broadcast_one_to_all(sent)).tobytes()

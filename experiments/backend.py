"""How JAX is set up for a script: its compilation cache, its devices, and what XLA is asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from logging import getLogger
from pathlib import Path

import jax
from absl import logging

# Both are known to the XLA of JAX 0.10 and 0.11; an unknown flag would end the process. The second refuses, with an
# error that names it, an operation for which there is no deterministic form.
DETERMINISTIC = ("--xla_gpu_deterministic_ops=true", "--xla_gpu_exclude_nondeterministic_ops=true")


def set_up_jax(several_runs: bool) -> None:
    """A compilation cache that outlives the process; on a CPU, the cores shared out among the runs.

    Several runs: one host device a core, each with one thread, for the run axis to be dealt over;
    threads inside a matrix product as well were slower (`experiments.speed` measures it). A single
    run has all threads to itself. JAX_NUM_CPU_DEVICES=8 in the
    environment makes it so many devices, whatever the cores.
    """
    logging.set_verbosity(logging.FATAL)  # orbax tells of every step of a save, and of errors that it raises too
    for name in ("asyncio", "jax._src.callback"):  # as do tasks of a save that failed, and JAX of a bad row
        getLogger(name).setLevel("CRITICAL")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "seqjax" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    if several_runs:
        xla_flags(["--xla_cpu_multi_thread_eigen=false"])
        a_device_each_core()


def a_device_each_core() -> None:
    """As many devices of the CPU as it has cores, if the environment does not say otherwise."""
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):  # JAX is running already, where a script is called from Python
            jax.config.update("jax_num_cpu_devices", cores())


def xla_flags(wanted: Sequence[str]) -> None:
    """Ask XLA for what the environment does not settle already; it is read when JAX first computes."""
    before = os.environ.get("XLA_FLAGS", "")
    added = [flag for flag in wanted if flag.partition("=")[0] not in before]
    os.environ["XLA_FLAGS"] = " ".join([before, *added]).strip()


@contextlib.contextmanager
def xla_flags_kept() -> Iterator[None]:
    """Those that a script adds are for itself, not for what its caller starts next."""
    before = os.environ.get("XLA_FLAGS")
    try:
        yield
    finally:
        os.environ.pop("XLA_FLAGS", None)
        if before is not None:
            os.environ["XLA_FLAGS"] = before


def cores() -> int:
    """The cores that this process may use; macOS tells only of all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Checkpoints: the whole state of a program, written whole or not at all, by orbax."""

from __future__ import annotations

from pathlib import Path

import jax
import orbax.checkpoint as ocp

from seqjax.types import PyTree

KEPT = 2


class Checkpoints:
    """The newest checkpoints of a run directory, numbered by step."""

    def __init__(self, directory: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, step: int, state: PyTree) -> None:
        """Write the state of a step, if it is not there; it counts only once it is complete."""
        if step != self._manager.latest_step():
            self._manager.save(step, args=ocp.args.StandardSave(jax.device_get(state)))

    def latest(self, like: PyTree = None) -> tuple[int, PyTree] | None:
        """The newest complete checkpoint with its step, in the structure of `like`, else as dicts; None if none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        return step, self._manager.restore(step, args=ocp.args.StandardRestore(jax.device_get(like)))

    def close(self) -> None:
        """Release what orbax holds."""
        self._manager.close()

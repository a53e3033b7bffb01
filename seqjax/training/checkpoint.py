"""Checkpoints: the whole state of a program, written whole or not at all, by orbax, and sealed by checksums."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from tqdm import tqdm

from seqjax.training.checksums import damage, seal, sums_of
from seqjax.training.processes import by_first
from seqjax.types import PyTree, UserError

KEPT = 2


class Checkpoints:
    """The newest checkpoints of a run directory, numbered by step."""

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        """Open them, and clear away what a save that was cut off left behind.

        read_only: change nothing there, where another process may be in the middle of a save
        """
        self._directory, self._read_only = directory.absolute(), read_only
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else KEPT,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, state: PyTree) -> None:
        """Write the state of a step, if it is not there; it counts only once it is complete."""
        if step != self._manager.latest_step():
            hook = sys.unraisablehook
            sys.unraisablehook = partial(_but_late_ones, hook)
            self._manager.save(step, args=ocp.args.StandardSave(jax.device_get(state)))
            sys.unraisablehook = hook  # after an error it stays: late ones are still to come
            by_first(lambda: self._seal(step))

    def _seal(self, step: int) -> None:
        seal(self._directory / str(step))
        for sums in self._directory.glob("*.sha256"):
            if not sums.with_suffix("").exists():  # orbax keeps the newest and takes the others away
                sums.unlink()

    def latest(self, *likes: PyTree) -> tuple[int, PyTree] | None:
        """The newest sound checkpoint with its step, in the first of `likes` that it fits, else as dicts; None if none.

        A checkpoint that differs from its checksums is not read. One that cannot be used is named on
        stderr and, unless they are open read-only, moved to the folder `damaged`, as orbax would in time
        delete it; those without checksums are taken at orbax's word.

        Raises:
            UserError: there are checkpoints, and none is sound; then nothing has been moved.
        """
        bad: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            reason = by_first(lambda step=step: damage(self._directory / str(step)))
            for like in (likes or (None,)) if reason is None else ():
                try:
                    state = self._manager.restore(step, args=ocp.args.StandardRestore(jax.device_get(like)))
                    reason = None
                    break
                except Exception as error:  # orbax and tensorstore have an error for every kind of damage
                    reason = reason or textwrap.shorten(f"orbax: {error}", 200)
            if reason is None:
                by_first(lambda step=step: self._set_aside(bad, step))
                if bad:
                    self._manager.reload()
                return step, state
            bad[step] = reason
        if bad:
            each = "; ".join(f"{step} ({reason})" for step, reason in bad.items())
            raise UserError(
                f"no checkpoint in {self._directory} is sound: {each}. They are left as they are; "
                "to start from the beginning, move that folder away"
            )
        return None

    def _set_aside(self, bad: dict[int, str], sound: int) -> None:
        for step, reason in bad.items():
            if self._read_only:
                tqdm.write(f"checkpoint {step} is damaged: {reason}; that of step {sound} is read", file=sys.stderr)
                continue
            folder, place, times = self._directory / str(step), self._directory / "damaged" / str(step), 1
            while place.exists():
                times += 1
                place = place.with_name(f"{step}-{times}")
            place.parent.mkdir(exist_ok=True)
            os.rename(folder, place)
            if sums_of(folder).exists():
                os.rename(sums_of(folder), sums_of(place))
            tqdm.write(
                f"checkpoint {step} is damaged: {reason}; kept as {place}, going on from step {sound}", file=sys.stderr
            )

    def close(self) -> None:
        """Release what orbax holds."""
        self._manager.close()


def _but_late_ones(hook: Callable[[Any], None], unraisable: Any) -> None:
    """Leave out what the threads of a save that has failed say of the event loop that ended with it."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        hook(unraisable)

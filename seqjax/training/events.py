"""TensorBoard's event files, one for each run, written by the process itself so that it sees every error."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLUSH_SECONDS = 30  # a flush waits for the disk


class Events:
    """The event files of a run directory; scalars by name and step.

    TensorBoardX's own SummaryWriter writes from threads, where an error is lost and the queue to them
    then waits for ever.
    """

    def __init__(self, directory: Path, names: list[str], purge: int | None) -> None:
        """Open a file for each name; TensorBoard hides what earlier files tell of the step `purge` and later."""
        with _without_pytorch():
            from tensorboardX.proto.event_pb2 import Event, SessionLog
            from tensorboardX.record_writer import RecordWriter

        now, self._files = time.time(), []
        for name in names:
            (directory / name).mkdir(parents=True, exist_ok=True)
            path = directory / name / f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
            self._files.append(RecordWriter(str(path)))
            self._put(len(self._files) - 1, Event(wall_time=now, file_version="brain.Event:2"))
            if purge is not None:
                self._put(len(self._files) - 1, Event(step=purge, session_log=SessionLog(status=SessionLog.START)))
        self._flushed = time.monotonic()

    def _put(self, number: int, event: Any) -> None:
        self._files[number].write(event.SerializeToString())

    def write(self, lines: list[dict[str, Any]]) -> None:
        """The plain numbers of each line, for its run, at its step; those that are not finite are left out."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for line in lines:
            for name, value in line.items():
                if isinstance(value, float) and math.isfinite(value):
                    summary = scalar(name, value)
                    self._put(line["run"], Event(step=line["step"], wall_time=time.time(), summary=summary))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            for file in self._files:
                file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        with contextlib.ExitStack() as stack:  # each, also where another cannot be
            for file in self._files:
                stack.callback(file.close)


@contextlib.contextmanager
def _without_pytorch() -> Iterator[None]:
    """For the import of TensorBoardX, which imports PyTorch where it finds it: seconds, for nothing used here."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None
    try:
        yield
    finally:
        del sys.modules["torch"]

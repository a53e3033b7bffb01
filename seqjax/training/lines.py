"""The files of a run directory that grow while it trains, and are cut back to a step where it goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path
from typing import Any

from seqjax.files import write_whole
from seqjax.training.config import Config
from seqjax.training.events import Events
from seqjax.training.record import MALFORMED, first_line, plain
from seqjax.types import UserError


class Lines:
    """A file of JSON lines that is appended to, and can be cut back to a step when a run resumes."""

    def __init__(self, path: Path, up_to: int | None) -> None:
        """Open for appending; keep the whole lines before the first of a step past `up_to`, or none if None.

        What comes behind is written again in the same order, also where a line of a run that stopped
        earlier stands among it.
        """
        try:
            kept = [] if up_to is None else [*takewhile(lambda line: _place(line)[0] <= up_to, _whole_lines(path))]
            self.written = set(map(_place, kept))
        except MALFORMED as error:
            raise UserError(f"{path} is damaged ({first_line(error)}); expected lines as they were written") from error
        write_whole(path, "".join(kept))
        self._file = path.open("a")

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Append a line for each record whose step and run have none yet."""
        for record in records:
            place = (record["step"], record["run"])
            if place not in self.written:
                self.written.add(place)
                self._file.write(json.dumps(plain(record), allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _place(line: str) -> tuple[int, int]:
    record = json.loads(line)
    return int(record["step"]), int(record["run"])


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


class Records:
    """The files of a run directory that grow while it trains."""

    def __init__(self, directory: Path, config: Config, resumed_at: int | None) -> None:
        """Open them; those of a resumed run are cut back to the step of its checkpoint."""
        self._metrics = self._events = None
        with contextlib.ExitStack() as files:  # each is closed, also where another cannot be, or cannot be opened
            self._gradients = files.enter_context(contextlib.closing(Lines(directory / "gradients.jsonl", resumed_at)))
            if config.steps:
                self._metrics = files.enter_context(contextlib.closing(Lines(directory / "metrics.jsonl", resumed_at)))
                purge = None if resumed_at is None else resumed_at + 1
                names = [f"seed={run['seed']},learning_rate={run['learning_rate']:.9g}" for run in config.runs]
                events = Events(directory / "tensorboard", names, purge)
                self._events = files.enter_context(contextlib.closing(events))
            self._files = files.pop_all()

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Append to metrics.jsonl and to TensorBoard's events."""
        self._metrics.write(lines)
        self._events.write(lines)

    def write_gradients(self, lines: list[dict[str, Any]]) -> None:
        """Append to gradients.jsonl, and the plain numbers to TensorBoard's events."""
        self._gradients.write(lines)
        if self._events is not None:
            self._events.write(lines)

    def close(self) -> None:
        """Close the files."""
        self._files.close()


class NoRecords:
    """What a process that does not write has in their place."""

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Nothing."""

    def write_gradients(self, lines: list[dict[str, Any]]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

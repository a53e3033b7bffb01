"""What scripts that train do when a signal asks them to stop: the report so far, and how to go on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments import command_line
from experiments.report import show_report
from seqjax import UserError
from seqjax.training.processes import is_first
from seqjax.training.signals import Preempted, heeded


@contextlib.contextmanager
def preemptible(script: str, argv: Sequence[str], workdir: Path, trains: bool) -> Iterator[Callable[[], bool]]:
    """Give what `train` asks whether to stop; at the end, also an early one, the report of the run directory.

    Args:
        script: whose name the command to go on has.
        argv: the arguments as typed.
        workdir: the run directory.
        trains: False where nothing is trained, and signals keep their meaning.

    Raises:
        Preempted: as `train` does, with the command that goes on.
    """
    with heeded(trains) as stopping:
        try:
            yield stopping
        except Preempted as stopped:
            try:
                _report(workdir)
            except UserError as error:
                print(f"no report yet: {error}", file=sys.stderr)
            raise Preempted(f"{stopped}; go on with: {command_line.continued(script, argv, workdir)}") from stopped
        _report(workdir)


def _report(workdir: Path) -> None:
    if is_first():
        show_report(workdir)

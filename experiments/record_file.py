"""The file that --record names, in which a script keeps its numbers and what they were measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from absl import flags

from experiments import backend, command_line
from seqjax import UserError
from seqjax.files import ready_folder
from seqjax.training import processes
from seqjax.training.record import environment, write_json


def define_record(flag_values: flags.FlagValues) -> None:
    """Define --record."""
    flags.DEFINE_string("record", None, "file to write the numbers to, as JSON", flag_values=flag_values)


def require_place(values: flags.FlagValues) -> None:
    """Raise UserError where --record could not be written, before anything is measured for it."""
    if values.record is not None:
        processes.by_first(lambda: _try(Path(values.record)))


def keep(values: flags.FlagValues, record: dict[str, Any]) -> None:
    """Write a record where --record asks for one."""
    if values.record is None or not processes.is_first():
        return
    try:
        write_json(Path(values.record), record)
    except OSError as error:
        raise UserError(f"--record={values.record} cannot be written: {error.strerror or error}") from error


def circumstances(script: str, argv: list[str]) -> dict[str, Any]:
    """What every record begins with: the command, the versions, the processor and how busy it is."""
    return {"command": command_line.command(script, argv), "environment": environment(), "machine": machine()}


def machine() -> dict[str, Any]:
    """The processor, its cores that may be used, and how busy it is."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    processor = models[0] if models else platform.processor() or platform.machine()
    return {"processor": processor, "cores": backend.cores(), "load": round(os.getloadavg()[0], 2)}


def _try(record: Path) -> None:
    if record.is_dir():
        raise UserError(f"--record={record} is a folder; expected a file")
    try:
        ready_folder(record.parent)
    except OSError as error:
        raise UserError(f"--record in {record.parent} cannot be written: {error.strerror or error}") from error

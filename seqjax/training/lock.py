"""The lock of a run directory: held by the process that writes there, and gone with it, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from seqjax.types import UserError

HELD = (errno.EWOULDBLOCK, errno.EACCES)


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Hold the directory, which is made if need be, against every other process that would write there.

    The file `lock` in it names the holder; what counts is the operating system's lock on it (flock),
    which no crash leaves behind. On a file system that has none, nothing is held. Where no run comes
    to be (no config.json), the file is taken away again. Reading needs no lock.

    Raises:
        UserError: another process holds it, with its number; the directory cannot be written.
    """
    path = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"--workdir={directory} cannot be written: {error.strerror or error}") from error
    try:
        _lock(file, directory)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            if not (directory / "config.json").exists():
                path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _lock(file: int, directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            return  # a file system without locks
        pid, _, host = os.pread(file, 300, 0).decode(errors="replace").strip().partition(" ")
        where = "" if host == socket.gethostname() else f" on {host}"
        raise UserError(
            f"--workdir={directory} is in use by process {pid or '(starting)'}{where}; wait for its end, "
            "or name another directory"
        ) from error

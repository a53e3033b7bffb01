"""Whether an error means that there is no room left, on the disk or in memory, whichever library tells of it."""

from __future__ import annotations

import errno
import os
import re

FULL = {errno.ENOSPC: "no space left on the device", errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "a file as large as is allowed"}  # fmt: skip
SMALLER = "expected shorter sequences, a smaller batch or cell, fewer runs at once, or --strategy=checkpointed"


def lacking(error: BaseException | None) -> str | None:
    """What there is no room for and why, in a few words; None where the error has another cause.

    OSError tells by its number; tensorstore, which writes checkpoints, tells the number in its text.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return FULL[error.errno] + (f": {error.filename}" if error.filename else "")
        told = re.search(r"\[os_error_code='(\d+)'\]", str(error))
        words = FULL.get(int(told.group(1))) if told else None
        words = words or next((FULL[number] for number in FULL if os.strerror(number) in str(error)), None)
        if words is not None:
            return words
        error = error.__cause__ or error.__context__
    return None


def out_of_memory(error: BaseException | None) -> str | None:
    """How much memory a device, or Python, was asked for in vain; None where the error has another cause."""
    while error is not None:
        asked = re.search(r"allocat\w* (\d+) bytes", str(error))
        if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError):
            return "out of memory" + (f": {int(asked.group(1)) / 1e9:.3g} GB more were asked for" if asked else "")
        error = error.__cause__ or error.__context__
    return None

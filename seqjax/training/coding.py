"""What symbols and units stood for when a run was trained, so that it is not asked about data that say it otherwise."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from seqjax.types import Task, UserError


def digest(task: Task) -> str | None:
    """The SHA-256 of a task's coding, numbers to six digits; None where it has none."""
    if not task.coding:
        return None
    return hashlib.sha256(json.dumps(_plain(task.coding), default=repr).encode()).hexdigest()


def require_same(before: Any, now: str | None, directory: str) -> None:
    """Raise UserError where config.json's `task` tells of another coding; older ones tell of none.

    Args:
        before: what stands there.
        now: the digest of the task as its data are now.
        directory: how an error calls the run directory.
    """
    was = before.get("coding") if isinstance(before, dict) else None
    if was is not None and was != now:
        raise UserError(
            f"{directory}: the data have changed since it was trained, and words, labels or units have other numbers "
            "now; expected the same rows to train on, or a run trained anew"
        )


def _plain(coding: Any) -> Any:
    """Tuples as lists, real numbers as text, whose last bits differ between machines."""
    if isinstance(coding, (tuple, list)):
        return [_plain(each) for each in coding]
    return f"{coding:.6g}" if isinstance(coding, (float, np.floating)) else coding

"""The run directory: what was run, and on what; and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from seqjax.files import write_whole
from seqjax.training.coding import require_same
from seqjax.training.config import Config
from seqjax.types import UserError

PACKAGES = ("seqjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "datasets", "numpy")
RECORDS = (":(exclude,top)results", ":(exclude,top)RESULTS.md")  # change as they are made, and are no code


def create(directory: Path, description: dict[str, Any], resume: bool) -> None:
    """Make a run directory, or find the one that is to be continued, also beyond its end if more steps are asked for.

    config.json is written first and whole; a directory without one holds no run. One that goes on beyond its
    end keeps under `earlier` what config.json said before, and is not finished any more.

    Raises:
        UserError: it exists and is not to be continued, holds something else, was made by another
            configuration (with the first setting that differs) or with data that gave words, labels or units other
            numbers, or cannot be written.
    """
    config = directory / "config.json"
    if not config.exists():
        with _writing(directory):
            if any(path.name != "lock" and path.suffix != ".partial" for path in directory.glob("*")):
                raise UserError(f"--workdir={directory} holds files that are no run's; name another directory")
            directory.mkdir(parents=True, exist_ok=True)
            write_json(config, description)
        return
    if not resume:
        raise UserError(f"--workdir={directory} exists; --resume continues it, or name another directory")
    before, wanted = read_json(config), json.loads(json.dumps(description))
    longer = _is_longer(before.get("config"), wanted.get("config"))
    if longer or before.get("config") == wanted.get("config"):
        require_same(before.get("task"), wanted.get("task", {}).get("coding"), f"--workdir={directory}")
    if longer and before.get("kind") == wanted.get("kind"):
        earlier = before.pop("earlier", [])
        with _writing(directory):
            (directory / "result.json").unlink(missing_ok=True)
            write_json(config, wanted | {"earlier": [*(earlier if isinstance(earlier, list) else []), before]})
        return
    for key in ("kind", "config"):
        _require_equal(directory, before.get(key), wanted.get(key))


@contextlib.contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"--workdir={directory} cannot be written: {error.strerror or error}") from error


# What a setting is where a config.json does not name it, as JSON.
DEFAULTS = json.loads(json.dumps(Config._field_defaults))


def _require_equal(directory: Path, before: Any, wanted: Any) -> None:
    if not (isinstance(before, dict) and isinstance(wanted, dict)):
        if before != wanted:
            raise UserError(f"--workdir={directory} was made by {before!r}, not {wanted!r}; name another directory")
        return
    before = {**{key: DEFAULTS[key] for key in wanted if key in DEFAULTS}, **before}
    for key in [*wanted, *(key for key in before if key not in wanted)]:
        if before.get(key) != wanted.get(key):
            if isinstance(before.get(key), dict) and isinstance(wanted.get(key), dict):  # a program of a grid
                _require_equal(directory, before[key], wanted[key])
            if isinstance(before.get(key), dict) != isinstance(wanted.get(key), dict):
                held = ", ".join(name for name, each in before.items() if isinstance(each, dict))
                raise UserError(f"--workdir={directory} holds the programs {held}; give the flags that it was made "
                                "with, which its config.json tells, or name another directory")  # fmt: skip
            every = before.get("eval_every")
            ends = before.get(key) if key == "steps" else None
            if type(ends) is type(every) is int and every > 0 and ends % every and ends < wanted[key]:
                raise UserError(
                    f"--workdir={directory} ends at step {ends}, between two evaluations (eval_every={every}), "
                    "and cannot go on beyond it; name another directory"
                )
            raise UserError(
                f"--workdir={directory} was made with {key}={before.get(key)!r}, not {wanted.get(key)!r}; "
                "give that, or name another directory"
            )


def _is_longer(before: Any, wanted: Any) -> bool:
    """Whether these settings, or those of each program of a grid, differ in having more steps, and in nothing else.

    The former end must be one of the longer run's evaluations: then both are the same run as far as that.
    """
    if not (isinstance(before, dict) and isinstance(wanted, dict)):
        return False
    if "steps" not in wanted:
        return before.keys() == wanted.keys() and all(_is_longer(before[name], wanted[name]) for name in wanted)
    before = DEFAULTS | before
    end, every = before["steps"], before["eval_every"]
    if not (type(end) is type(every) is int and 0 < end < wanted["steps"] and every > 0 and end % every == 0):
        return False
    return before | {"steps": wanted["steps"]} == DEFAULTS | wanted


def is_finished(config: Config, directory: Path) -> bool:
    """Whether a run directory holds the end of such a run, and not that of one of fewer steps."""
    if not (directory / "result.json").exists():
        return False
    before = read_json(directory / "config.json").get("config")
    return not _is_longer(before, json.loads(json.dumps(config._asdict())))


def environment() -> dict[str, Any]:
    """Commit, versions and device of this process, as config.json keeps them."""
    devices = jax.devices()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ":/", *RECORDS)),
        "python": platform.python_version(),
        "versions": versions,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "device": {"platform": devices[0].platform, "kind": devices[0].device_kind, "count": len(devices)},
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "--no-optional-locks", "-C", root, *arguments]  # a kill would leave a lock behind
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


MALFORMED = (ValueError, KeyError, TypeError, OverflowError, RecursionError)  # what reading JSON of any form may raise


def read_json(path: Path) -> dict[str, Any]:
    """A file that `write_json` wrote. Raises UserError where it is none any more."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no object")
    except MALFORMED as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); expected it as it was written") from error
    return found


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all."""
    write_whole(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The same with NaN and infinities as None, for JSON."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

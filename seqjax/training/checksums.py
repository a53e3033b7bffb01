"""Checksums beside a folder, in the form of sha256sum, by which damage to any of its files is noticed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from seqjax.files import write_whole

LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")


def sums_of(folder: Path) -> Path:
    """Where the checksums of a folder lie: `sha256sum -c 500.sha256`, typed beside it, checks checkpoint 500."""
    return folder.with_name(folder.name + ".sha256")


def seal(folder: Path) -> None:
    """Write the SHA-256 of every file in the folder beside it, whole or not at all."""
    write_whole(sums_of(folder), "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items()))


def damage(folder: Path) -> str | None:
    """How the folder differs from what was sealed, in a few words; None if it does not, or was never sealed."""
    sums = sums_of(folder)
    if not sums.exists():
        return None
    text = sums.read_text(encoding="utf-8", errors="replace")
    wanted = {name: digest for digest, name in LINE.findall(text)}
    if not wanted or LINE.sub("", text):
        return f"{sums.name} is damaged"
    found = _digests(folder)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            return f"{name} {'differs from its checksum' if name in found else 'is missing'}"
    return None


def _digests(folder: Path) -> dict[str, str]:
    """Path from the folder's parent -> SHA-256, of every file in the folder."""
    digests = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digests[path.relative_to(folder.parent).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests

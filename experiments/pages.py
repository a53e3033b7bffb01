"""Pages written by hand that have a place for tables, which are made of records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from seqjax import UserError
from seqjax.report.markdown import pipe_table

ROOT = Path(__file__).parents[1]


class Table(NamedTuple):
    """What a person reads; as text, a pipe table under its title."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()  # what is not there, and why

    def __str__(self) -> str:
        lines = pipe_table(self.headings, self.rows, numbers=range(1, len(self.headings)))
        text = "\n".join([f"**{self.title}**", "", *lines])
        return text + ("\n\nNot timed:\n\n" + "\n".join(f"- {note}" for note in self.notes) if self.notes else "")


def marks(folder: str) -> tuple[str, str]:
    """The lines between which a page has what is made of the records in a folder."""
    return f"<!-- generated from {folder}: begin -->", f"<!-- generated from {folder}: end -->"


def filled(page: str, folder: str, parts: Sequence[str]) -> str:
    """The page with these paragraphs between its marks. Raises UserError if it has none."""
    begin, end = marks(folder)
    if page.count(begin) != 1 or page.count(end) != 1:
        raise UserError(f"the page has no place for the tables: one line {begin!r} and one {end!r}")
    before, rest = page.split(begin)
    return before + "\n\n".join([begin, *parts, end]) + rest.split(end)[1]

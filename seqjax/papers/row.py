"""The vocabulary of the registry: what a paper is, and one row of its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

# What a row measures, and its words in a table.
MEASURES = {
    "sequences": "training sequences until solved",
    "loss": "final loss",
    "score": "final score",
    "solved": "share of seeds that solve",
    "grade": "final grade of the test split",
    "errors": "final errors on the test split",
}
LESS_IS_BETTER = ("sequences", "loss", "errors")
SOURCES = {
    "L": "read in the paper or in its authors' code",
    "L2": "read in another text that quotes it",
    "M": "from memory, not verified",
}
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """One published number, and how to measure it.

    name:      of the row, without blanks: 'adding-100'
    cell:      spec
    task:      spec
    measure:   one of MEASURES; of the seeds at the best learning rate of the grid
    published: the number in the paper; None where it shows a curve, or gives no number for this row
    source:    one of SOURCES, for the number
    settings:  fields of Config for the published budget; learning_rates is the grid
    cpu:       the fields that the cpu budget cuts; empty where the published budget fits two cores
    tolerance: relative distance at which two numbers are called the same
    known:     what is known to be wrong, unclear or another thing here than in the paper
    grade:     which of the task's grades is measured, where the measure is 'grade' or 'errors'
    shape:     of an application: what is read and what is said, as 'many-to-one'
    goal:      of an application: the number to be reached
    """

    name: str
    cell: str
    task: str
    measure: Literal["sequences", "loss", "score", "solved", "grade", "errors"]
    published: float | None
    source: Literal["L", "L2", "M"]
    settings: Mapping[str, Any]
    cpu: Mapping[str, Any] = NOTHING
    tolerance: float = 0.1
    known: str = ""
    grade: str | None = None
    shape: str = ""
    goal: float | None = None

    @property
    def data(self) -> str | None:
        """What of the task's spec a user's data replace, as 'DATA/mnist'; None where it draws its samples."""
        found = re.search(r"DATA/[^'\"]*", self.task)
        return found and found[0]


class Paper(NamedTuple):
    """A paper: its citation, and its rows."""

    title: str
    rows: tuple[Row, ...]

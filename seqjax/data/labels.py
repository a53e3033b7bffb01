"""Columns of labels: whole numbers or texts, known from the rows to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from seqjax.data.text import declared, place
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset


def label_names(rows: Dataset, column: str, data: str) -> list[tuple[str, str]]:
    """Each row's label, spelled as the column declares it if it does, and how an error says where it stands.

    Raises UserError for a row that holds neither a whole number nor a text.
    """
    values = rows[:][column]
    if wrong := [row for row, value in enumerate(values) if not isinstance(value, (int, str))]:
        row = next((row for row in wrong if values[row] is None), wrong[0])  # a hole makes a csv's whole numbers 1.0
        raise UserError(f"{place(rows, column, data, row)} holds {values[row]!r}; expected a whole number or a text")
    places = [place(rows, column, data, row) for row in range(len(values))]
    feature = rows.features[column]
    return [(each if isinstance(each, str) else declared(feature, each, at), at) for each, at in zip(values, places)]


def numbered_labels(train: list[tuple[str, str]], test: list[tuple[str, str]]) -> tuple[list[str], list[np.ndarray]]:
    """The names of the rows to train on, whole numbers in their order, and both rows' numbers among them.

    Raises UserError for a label to test on that no row to train on has.
    """
    names = sorted({name for name, _ in train}, key=lambda name: (not name.isdecimal(), name.zfill(20), name))
    for name, at in test:
        if name not in names:
            raise UserError(f"{at} holds {name!r}, which no row to train on has; labels: {', '.join(names)}")
    number = {name: n for n, name in enumerate(names)}
    return names, [np.array([number[name] for name, _ in rows], np.int32) for rows in (train, test)]


def require_several(names: list[str], column: str, data: str) -> None:
    """Raise UserError where all rows to train on have one label, and there is nothing to tell apart."""
    if len(names) < 2:
        raise UserError(
            f"data={data!r}: column {column!r} holds {names[0]!r} in all rows to train on; expected two labels or more"
        )


def entropy(labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Of the labels' own shares, in nats; of rows drawn with some weights, in the drawing."""
    share = np.bincount(labels, weights) / (len(labels) if weights is None else weights.sum())
    return -sum(float(p * np.log(p)) for p in share if p)


def share_of_right(truth: list[list[str]], said: list[list[str]]) -> float:
    """The share of sequences whose one answer is right."""
    return sum(one == other for one, other in zip(truth, said, strict=True)) / len(truth)

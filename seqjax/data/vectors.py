"""Columns of sequences of vectors: lists over time, of whatever lengths, as padded arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqjax.data.labels import label_names, numbered_labels
from seqjax.data.loading import load
from seqjax.data.text import place, train_and_test
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset


def vector_lists(rows: Dataset, column: str, data: str) -> list[np.ndarray]:
    """A column of lists over time of lists of numbers, each [T, D] float64; of lists of numbers, D = 1.

    A text, as a csv file has, is read as JSON.

    Raises:
        UserError: with the row's number, a row that is missing, empty, of vectors of another size than the first
            row's, or that holds anything but numbers that float32 can hold.
    """
    found: list[np.ndarray] = []
    many = "expected a list over time of lists of as many numbers, in a csv as JSON: [[1.5, 2], [1, 0]]"
    for row, value in enumerate(rows[:][column]):
        at = place(rows, column, data, row)
        try:
            sequence = np.asarray(json.loads(value) if isinstance(value, str) else value, np.float64)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{at} holds no table of numbers; {many}") from error
        sequence = sequence[:, None] if sequence.ndim == 1 else sequence
        if sequence.ndim != 2 or not sequence.size:
            held = value if sequence.ndim == 0 else f"an array {list(sequence.shape)}"
            raise UserError(f"{at} holds {held}; {many}")
        if len(wrong := np.flatnonzero(~is_single(sequence).all(1))):
            raise UserError(f"{at} holds {sequence[wrong[0]]} at step {wrong[0]}; expected finite numbers throughout")
        if found and sequence.shape[1] != found[0].shape[1]:
            sizes = f"{sequence.shape[1]} numbers a step, row 0 has {found[0].shape[1]}"
            raise UserError(f"{at} has {sizes}; expected as many in all rows")
        found.append(sequence)
    return found


def labelled(
    data: str, series: str, label: str, tested_on: str, share: float
) -> tuple[list[str], list[np.ndarray], list[list[np.ndarray]]]:
    """The labels' names; then, to train and to test on, the labels' numbers [N] and the sequences, each [T, D].

    Raises:
        UserError: as `load`, `vector_lists`, `train_and_test` and `numbered_labels`; or vectors to test on of another
            size than those to train on.
    """

    def read(rows: Dataset) -> list[tuple[np.ndarray, tuple[str, str]]]:
        return list(zip(vector_lists(rows, series, data), label_names(rows, label, data)))

    both = train_and_test(load(data, series=series, label=label), read, tested_on, share, data)
    names, numbers = numbered_labels(*([name for _, name in rows] for rows in both))
    sequences = [[sequence for sequence, _ in rows] for rows in both]
    sizes = [part[0].shape[1] for part in sequences]
    if sizes[0] != sizes[1]:
        sizes = f"{sizes[0]} numbers a step to train on and {sizes[1]} to test on"
        raise UserError(f"data={data!r}: column {series!r} has {sizes}; expected as many")
    return names, numbers, sequences


def is_single(values: np.ndarray) -> np.ndarray:
    """Where values are numbers that float32 can hold: neither missing nor infinite there."""
    return np.abs(values) <= np.finfo(np.float32).max


def padded(sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences [T, D] as one array [N, T, D] float32 with zeros past each end, and their lengths [N] int32."""
    steps = np.array([len(sequence) for sequence in sequences], np.int32)
    table = np.zeros((len(sequences), steps.max(), sequences[0].shape[1]), np.float32)
    for row, sequence in zip(table, sequences):
        row[: len(sequence)] = sequence
    return table, steps


def moments(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the rows; 0 exactly of what never varies, whose mean may be rounded."""
    return steps.mean(0), np.where(steps.max(0) > steps.min(0), steps.std(0), 0)


def standardized(sequences: Sequence[np.ndarray], mean: np.ndarray, deviation: np.ndarray) -> list[np.ndarray]:
    """(x - mean) / deviation; what never varies stays at 0."""
    return [(sequence - mean) / np.where(deviation > 0, deviation, 1) for sequence in sequences]

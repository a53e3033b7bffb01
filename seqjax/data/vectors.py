"""Columns of sequences of vectors: lists over time, of whatever lengths, as padded arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqjax.data.text import place
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
    for row, value in enumerate(rows[:][column]):
        at = place(rows, column, data, row)
        try:
            sequence = np.asarray(json.loads(value) if isinstance(value, str) else value, np.float64)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{at} holds no numbers; expected a list over time of lists of as many numbers") from error
        sequence = sequence[:, None] if sequence.ndim == 1 else sequence
        if sequence.ndim != 2 or not sequence.size:
            raise UserError(
                f"{at} holds an array {list(sequence.shape)}; expected a list over time of lists of numbers"
            )
        if len(wrong := np.flatnonzero(~is_single(sequence).all(1))):
            raise UserError(f"{at} holds {sequence[wrong[0]]} at step {wrong[0]}; expected finite numbers throughout")
        if found and sequence.shape[1] != found[0].shape[1]:
            sizes = f"{sequence.shape[1]} numbers a step, row 0 has {found[0].shape[1]}"
            raise UserError(f"{at} has {sizes}; expected as many in all rows")
        found.append(sequence)
    return found


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

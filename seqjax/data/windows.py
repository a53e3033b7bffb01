"""One long run of tokens, cut into windows that follow each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqjax.types import Array


class Windows(NamedTuple):
    """Windows of T predictions, or of all if they are fewer; the last token of one is the first of the next."""

    tokens: Array  # [N, T + 1] int32
    steps: Array  # [N] int32: how many predictions a window holds, T but in the last


def window_reader(pieces: list[np.ndarray], window: int) -> tuple[int, Callable[[np.ndarray], Windows]]:
    """How many windows the tokens of all pieces make, and what reads those of given numbers, as NumPy arrays."""
    starts = np.cumsum([0, *map(len, pieces)])
    predictions = int(starts[-1]) - 1
    window = min(window, predictions)

    def tokens(start: int) -> np.ndarray:
        """window + 1 of them, zeros behind the last."""
        found, filled = np.zeros(window + 1, np.int32), 0
        piece = int(np.searchsorted(starts, start, "right")) - 1
        while filled <= window and piece < len(pieces):
            part = pieces[piece][max(start - starts[piece], 0) :][: window + 1 - filled]
            found[filled : filled + len(part)] = part
            filled, piece = filled + len(part), piece + 1
        return found

    def read(numbers: np.ndarray) -> Windows:
        numbers = numbers.astype(np.int64)
        steps = np.minimum(window, predictions - numbers * window).astype(np.int32)
        return Windows(np.stack([tokens(start) for start in numbers * window]), steps)

    return -(-predictions // window), read

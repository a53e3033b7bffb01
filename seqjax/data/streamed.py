"""Examples that stay on disk: a batch is read when it is asked for, by number, and the next one ahead of time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import jax
import numpy as np

from seqjax.types import Array, PyTree, UserError

if TYPE_CHECKING:
    from datasets import Dataset

STREAMED_FROM = 2**27  # bytes of a split as Arrow stores it
AHEAD = 64  # batches that are kept ready at most: one for every run that is trained, and few for those that ended
READERS = 2  # threads
REFUSED: list[UserError] = []  # what was wrong with rows found while a program ran; JAX tells it as an error of its own


@jax.tree_util.register_static
class Streamed:
    """A split of a data set on disk, in the place of its arrays.

    What is read depends on the numbers that are asked for and on nothing else: there is no position to
    keep, and a program that goes on from its step k reads the batches from k on that it would have read,
    on however many processes. Each process reads what its own devices ask for.

    count: examples
    read:  numbers [n] -> a pytree of NumPy arrays, the first axis n; called from several threads
    """

    def __init__(self, count: int, read: Callable[[np.ndarray], PyTree]) -> None:
        self.count, self.read = count, read
        one = read(np.zeros(1, np.int64))
        self._like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), one)
        self._ahead: OrderedDict[bytes, Future] = OrderedDict()
        self._lock, self._pool = threading.Lock(), ThreadPoolExecutor(READERS, "reader")

    def take(self, numbers: Array, following: Array) -> PyTree:
        """The examples [n, ...] of these numbers [n], within jit; `following` are read ahead."""
        shapes = jax.tree.map(lambda like: jax.ShapeDtypeStruct((*numbers.shape, *like.shape), like.dtype), self._like)
        return jax.pure_callback(self._fetch, shapes, numbers, following, vmap_method="broadcast_all")

    def _fetch(self, numbers: Array, following: Array) -> PyTree:
        numbers, following = np.asarray(numbers), np.asarray(following)
        with self._lock:
            here = self._ahead.pop(numbers.tobytes(), None)
            if following.tobytes() not in self._ahead:
                self._ahead[following.tobytes()] = self._pool.submit(self.read, following.ravel())
            while len(self._ahead) > AHEAD:
                self._ahead.popitem(last=False)[1].cancel()
        try:
            rows = self.read(numbers.ravel()) if here is None else here.result()
        except UserError as error:
            REFUSED.append(error)
            raise
        return jax.tree.map(lambda leaf: leaf.reshape(*numbers.shape, *leaf.shape[1:]), rows)


def pick(examples: PyTree, numbers: Array, following: Array | None = None) -> PyTree:
    """The examples of these numbers [n], of arrays or of a Streamed; `following` are those of the next call."""
    if isinstance(examples, Streamed):
        return examples.take(numbers, numbers if following is None else following)
    return jax.tree.map(lambda leaf: leaf[numbers], examples)


def count_of(examples: PyTree) -> int:
    """How many examples a split holds."""
    return examples.count if isinstance(examples, Streamed) else jax.tree.leaves(examples)[0].shape[0]


def is_streamed(rows: Dataset, stream: bool | None) -> bool:
    """Whether a split is left on disk: as asked for, or by itself from STREAMED_FROM bytes on.

    Either way the batches are the same, to the bit.
    """
    return rows.data.nbytes >= STREAMED_FROM if stream is None else stream

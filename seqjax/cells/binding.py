"""A cell's step with its hyperparameters bound to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable


@functools.cache
def bind(step: Callable, *first: Hashable) -> Callable:
    """`step` with its first arguments given; one object for equal ones, so that equal cells share one program."""
    return functools.partial(step, *first)

"""How a cell is cut where its matrix products end, for the fused strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.cells.activations import ACTIVATIONS, Activation
from seqjax.types import Array, PyTree
from seqjax.unroll.products import product


class Weights(NamedTuple):
    """The affine map of a cell; each is linear in the cell's parameters.

    Of the N columns of a, those of w_x are the first and those of w_h the last.
    """

    w_x: Array  # [D, N or fewer]
    w_h: Array  # [H, N or fewer]
    b: Array  # [N]
    rest: PyTree  # parameters of the elementwise part


class Parts(NamedTuple):
    """A cell cut in two: an affine map a = x W_x + h W_h + b [..., N], and what follows elementwise.

    The carry is a NamedTuple that begins with h, and h is the output. v̇ is the tangent of v.

    weights:  params -> Weights, linear
    advance:  (rest, carry, a) -> (carry, saved), where saved is all that `tangent` needs
    tangent:  (rest, carry, saved, carrẏ, ȧ) -> carrẏ, linear in what is dotted, the rest held still
    of_rest:  (resṫ, carry, saved) -> the ȧ [..., N] that a change of the rest amounts to, or None
    product:  (rows [..., K], matrix [K, M]) -> [..., M], linear in both
    """

    weights: Callable[[PyTree], Weights]
    advance: Callable[..., tuple[Any, PyTree]]
    tangent: Callable[..., Any]
    of_rest: Callable[..., Array | None]
    product: Callable[[Array, Array], Array] = product


def half(activation: Activation) -> float:
    """The factor on an activation's argument that `squash` expects to be there already."""
    return 0.5 if activation == "sigmoid" else 1.0


def squash(activation: Activation, a: Array) -> Array:
    """The activation; σ(2a) = (1 + tanh a) / 2, as tanh is the cheaper of the two."""
    return 0.5 + 0.5 * jnp.tanh(a) if activation == "sigmoid" else ACTIVATIONS[activation](a)


# The slope of `squash` by the value that it gave, with respect to the halved argument.
SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda y: 1 - y * y,
    "relu": lambda y: (y > 0).astype(y.dtype),
    "identity": jnp.ones_like,
    "sigmoid": lambda y: 2 * y * (1 - y),
    "hs97_g": lambda y: (4 - y * y) / 4,
    "hs97_h": lambda y: (1 - y * y) / 2,
}


def stretch(factors: Sequence[float], width: int, dtype: Any) -> np.ndarray:
    """Each factor once for every column of its block [blocks · width]."""
    return np.repeat(np.asarray(factors), width).astype(dtype)

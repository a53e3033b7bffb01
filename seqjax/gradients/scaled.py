"""Numbers that would underflow: a mantissa, and the natural logarithm of its scale, per sequence."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, PyTree
from seqjax.unroll.side_by_side import largest


class Scaled(NamedTuple):
    """The pytree value · exp(log): leaves [..., n], log [...] of one scale for all leaves."""

    value: PyTree
    log: Array


def _spread(log: Array, leaf: Array) -> Array:
    return log.reshape(log.shape + (1,) * (leaf.ndim - log.ndim))


def _largest(value: PyTree, axes: int) -> Array:
    """Largest magnitude over all leaves, per place of the first `axes` axes."""
    each = [largest(jnp.abs(leaf), tuple(range(axes, leaf.ndim))) for leaf in jax.tree.leaves(value)]
    return largest(jnp.stack(each), 0)


def share_scale(*parts: Scaled) -> tuple[list[PyTree], Array]:
    """Write several Scaled with one log, so that the largest magnitude of all is 1 (or all are 0)."""
    tops = [part.log + jnp.log(_largest(part.value, part.log.ndim)) for part in parts]
    log = jnp.max(jnp.stack(tops), 0)
    log = jnp.where(jnp.isfinite(log), log, 0.0)

    def rewrite(part: Scaled, top: Array) -> PyTree:
        # In two factors, as exp(part.log - log) may leave the range of float32 where the product
        # does not; a part that is zero stays zero, whatever its log.
        half = jnp.exp(jnp.where(top == -jnp.inf, -jnp.inf, (part.log - log) / 2))
        return jax.tree.map(lambda leaf: leaf * _spread(half, leaf) * _spread(half, leaf), part.value)

    return [rewrite(part, top) for part, top in zip(parts, tops)], log


def rescaled(scaled: Scaled) -> Scaled:
    """The same numbers, the largest magnitude in the value 1."""
    (value,), log = share_scale(scaled)
    return Scaled(value, log)


def log_norm(value: PyTree, log: Array) -> Array:
    """ln of the Euclidean norm over all leaves of value · exp(log) [...]; -inf where it is zero."""
    top = _largest(value, log.ndim)
    safe = jnp.where(top == 0, 1.0, top)
    squares = [
        jnp.sum((leaf / _spread(safe, leaf)) ** 2, axis=tuple(range(log.ndim, leaf.ndim)))
        for leaf in jax.tree.leaves(value)
    ]
    return jnp.where(top == 0, -jnp.inf, log + jnp.log(safe) + 0.5 * jnp.log(jnp.maximum(sum(squares), 1.0)))

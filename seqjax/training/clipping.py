"""The norm of a whole gradient and its clipping, also where the squares of its numbers leave their range."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from seqjax.types import Array, PyTree

LARGE = 1e15  # of 10^8 such numbers the squares add up to what float32 still holds, 3.4e38


def clip_by_norm(limit: float) -> optax.GradientTransformation:
    """g -> g · min(1, limit / ‖g‖), to the bit as `optax.clip_by_global_norm` where that clips.

    Optax comes to ‖g‖ by ‖g‖², which in float32 is infinite from ‖g‖ = 1.8e19 on, and makes g zero there. A
    gradient that explodes often is on its way to what float32 cannot hold at all, and is to be clipped.
    (Pascanu et al. 2013, section 3.2)
    """

    def clip(grads: PyTree, _: PyTree) -> PyTree:
        near, scale = _in_range(grads)
        size = optax.tree.norm(near)
        short = size * scale < limit
        cut = lambda leaf, near: jnp.where(short, leaf, near / size.astype(near.dtype) * limit)  # noqa: E731
        return jax.tree.map(cut, grads, near)

    return optax.stateless(clip)


def norm(grads: PyTree) -> Array:
    """The global L2 norm ‖g‖, finite where it is one of float32, whatever its square."""
    near, scale = _in_range(grads)
    return optax.tree.norm(near) * scale


def norm_that_counts(clip_norm: float | None, clip_value: float | None) -> Callable[[PyTree], Array]:
    """The norm of a gradient by which a run goes on while it is finite, g -> ‖g‖.

    What is not clipped goes into the optimizer as it is, whose mean squares (of Adam, RMSprop) would be infinite
    for ever: there ‖g‖² has to be finite too.
    """
    return optax.tree.norm if clip_norm is None and clip_value is None else norm


def _in_range(grads: PyTree) -> tuple[PyTree, Array]:
    """Gradients divided by a scale, so that none exceeds LARGE; the scale of usual ones is 1."""
    scale = jnp.maximum(1, optax.tree.norm(grads, ord=jnp.inf) / LARGE)
    return jax.tree.map(lambda leaf: (leaf / scale).astype(leaf.dtype), grads), scale

"""A batch split over the `data` axis of the mesh: every device runs the model on its share, and sees the whole loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.types import Array, Model, PyTree

AXIS = "data"


def split_model(model: Model, parts: int) -> Model:
    """The Model whose `apply` takes a whole batch, computes this device's share and gives the whole outputs.

    Whatever is then made of the outputs (a loss, however masked; a score) is that of the whole batch, by
    construction. The recurrence stays on the device, with whatever strategy: a compiler that is left to
    split it gathers its activations wherever their axes T and B are merged, and takes a hand-written
    kernel for indivisible.

    The gradient of a loss of the whole outputs is, on each device, `parts` times what its share adds to
    the true gradient; their mean over the axis is the true one (`mean_over_shares`). What each device
    computes in full by itself, as a penalty on the whole batch, comes out right in that mean as well.

    A batch that does not divide is filled up with sequences of zeros, whose outputs are dropped. Dropout
    draws the mask of the whole batch and takes its share. The carry that is given back is the share's own.

    Args:
        model: the Model.
        parts: devices along the axis; for 1 the model itself is given back.
    """
    if parts == 1:
        return model

    def apply(
        params: PyTree, inputs: Array, lengths: Array | None = None, *, dropout_key: Array | None = None
    ) -> tuple[Array, PyTree]:
        count, share = inputs.shape[1], (parts, jax.lax.axis_index(AXIS))
        lengths = None if lengths is None else jnp.maximum(my_share(lengths, 0, parts), 1)
        outputs, carry = model.apply(params, my_share(inputs, 1, parts), lengths, dropout_key=dropout_key, share=share)
        axis = outputs.ndim - 2
        return jax.lax.slice_in_dim(gathered(outputs, axis, parts), 0, count, axis=axis), carry

    return model._replace(apply=apply)


def my_share(leaf: Array, axis: int, parts: int) -> Array:
    """This device's part along an axis, which is filled up with zeros where it does not divide."""
    if parts == 1:
        return leaf
    each = -(-leaf.shape[axis] // parts)
    fill = [(0, each * parts - leaf.shape[axis] if n == axis else 0) for n in range(leaf.ndim)]
    return jax.lax.dynamic_slice_in_dim(jnp.pad(leaf, fill), jax.lax.axis_index(AXIS) * each, each, axis)


def gathered(tree: PyTree, axis: int, parts: int) -> PyTree:
    """The whole of what each device has a share of; the same on all."""
    return tree if parts == 1 else jax.lax.all_gather(tree, AXIS, axis=axis, tiled=True)


def mean_over_shares(tree: PyTree, parts: int) -> PyTree:
    """The mean over the devices that share a batch; the same bits on each."""
    return tree if parts == 1 else jax.lax.pmean(tree, AXIS)

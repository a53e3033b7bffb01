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
        count, number = inputs.shape[1], jax.lax.axis_index(AXIS)
        each = -(-count // parts)

        def share(leaf: Array, axis: int) -> Array:
            fill = [(0, each * parts - count if n == axis else 0) for n in range(leaf.ndim)]
            return jax.lax.dynamic_slice_in_dim(jnp.pad(leaf, fill), number * each, each, axis)

        lengths = None if lengths is None else jnp.maximum(share(lengths, 0), 1)
        outputs, carry = model.apply(params, share(inputs, 1), lengths, dropout_key=dropout_key, share=(parts, number))
        axis = outputs.ndim - 2
        whole = jax.lax.all_gather(outputs, AXIS, axis=axis, tiled=True)
        return jax.lax.slice_in_dim(whole, 0, count, axis=axis), carry

    return model._replace(apply=apply)


def mean_over_shares(tree: PyTree, parts: int) -> PyTree:
    """The mean over the devices that share a batch; the same bits on each."""
    return tree if parts == 1 else jax.lax.pmean(tree, AXIS)

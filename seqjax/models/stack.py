"""A stack of cells over a sequence: layers upon each other, each in one or two directions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqjax.cells.carries import require_batch, require_step
from seqjax.types import Array, Cell, Direction, Layers, PyTree, UserError
from seqjax.unroll import unroll

SIZE = 13  # sequences, a number that is hardly another axis's


def first_step(cell: Cell, params: PyTree, width_in: int) -> tuple[PyTree, Array]:
    """The shapes of what a cell's step gives that reads SIZE vectors of that width: carry, y.

    Raises:
        UserError: a carry or a step that is not what `Cell` says of it, as may be of a user's own.
    """
    batch, x = (SIZE,), jax.ShapeDtypeStruct((SIZE, width_in), jnp.result_type(float))
    carry = jax.eval_shape(lambda params: cell.initial_carry(params, batch), params)
    try:
        require_batch(carry, batch)
        found = jax.eval_shape(cell.step, params, carry, x)
        require_step(carry, found, batch)
    except UserError as error:
        raise UserError(f"of a batch of {SIZE} sequences {error}") from error
    return found


def init_stack(keys: list[Array], cell: Cell, width_in: int, ways: int) -> tuple[dict[str, PyTree], int]:
    """Parameters by layer, one of `ways` directions for each key, and the width of the last layer's outputs."""
    size, params = width_in, {}
    for layer in range(len(keys) // ways):
        made = tuple(cell.init(keys[layer * ways + way], size) for way in range(ways))
        params[f"layer_{layer}"], size = made, ways * first_step(cell, made[0], size)[1].shape[-1]
    return params, size


def stack_of(cell: Cell, params: PyTree) -> Layers:
    """The layers that the parameters hold, the second direction of each in reverse."""
    count = sum(name.startswith("layer_") for name in params)
    return tuple(
        tuple(Direction(cell, each, reverse=way == 1) for way, each in enumerate(params[f"layer_{layer}"]))
        for layer in range(count)
    )


def run_stack(
    layers: Layers,
    xs: Array,
    lengths: Array | None,
    *,
    carry: PyTree | None = None,
    nudge: PyTree | None = None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    dropout_key: Array | None = None,
    strategy: str = "auto",
    share: tuple[int, Array | int] = (1, 0),
) -> tuple[Array, tuple]:
    """The last layer's outputs [T, B, H], both directions side by side, and every layer's carries.

    share: into how many parts the batch is cut, and which of them this is; it takes its part of the masks.
    """
    carries = []
    for depth, layer in enumerate(layers):
        xs = drop(xs, dropout if depth else input_dropout, dropout_key, depth, share)
        runs = [
            unroll(
                way.cell,
                way.params,
                xs,
                None if carry is None else carry[depth][number],
                lengths=lengths,
                reverse=way.reverse,
                nudge=None if nudge is None else nudge[depth][number],
                strategy=strategy,
            )
            for number, way in enumerate(layer)
        ]
        carries.append(tuple(after for after, _ in runs))
        xs = jnp.concatenate([ys for _, ys in runs], -1)
    return xs, tuple(carries)


def first_carries(layers: Layers, batch: int) -> tuple:
    """What `run_stack` begins with: every layer's initial carries for so many sequences."""
    return tuple(tuple(way.cell.initial_carry(way.params, (batch,)) for way in layer) for layer in layers)


def drop(xs: Array, rate: float, key: Array | None, place: int, share: tuple[int, Array | int] = (1, 0)) -> Array:
    """Dropout of xs [T, B, D], its mask of the key and the place; nothing without a rate or a key.

    Of a batch cut into parts, each is dropped by its part of the whole batch's mask.
    """
    if not rate or key is None:
        return xs
    (parts, number), each = share, xs.shape[1]
    dropped = nn.Dropout(rate, deterministic=False)
    rngs = {"dropout": jax.random.fold_in(key, place)}
    if parts == 1:
        return dropped.apply({}, xs, rngs=rngs)
    whole = jnp.zeros((xs.shape[0], parts * each, *xs.shape[2:]), xs.dtype)
    whole = jax.lax.dynamic_update_slice_in_dim(whole, xs, number * each, 1)
    return jax.lax.dynamic_slice_in_dim(dropped.apply({}, whole, rngs=rngs), number * each, each, 1)


def ends(ys: Array, lengths: Array | None, ways: int) -> Array:
    """[B, H]: the output at the last valid step and, of the half that is read backwards, at the first."""
    forward, *backward = jnp.split(ys, ways, -1)
    last = forward[-1] if lengths is None else forward[jnp.maximum(lengths - 1, 0), jnp.arange(ys.shape[1])]
    return jnp.concatenate([last, *(each[0] for each in backward)], -1)

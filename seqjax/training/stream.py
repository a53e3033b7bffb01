"""The stream of batches: batch k of a run is a pure function of the run's key and k."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.data.streamed import Streamed, count_of, pick
from seqjax.training.split import gathered, my_share
from seqjax.types import Array, Batch, PyTree, Task

ROUNDS = 6


def train_batch(task: Task, train: PyTree, key: Array, number: Array, batch_size: int, parts: int = 1) -> Batch:
    """Batch `number` of the stream that `key` names.

    A synthetic task is sampled anew. Real data is read in epochs of whole batches, each epoch in an
    order of its own; the few examples that are left over wait for another epoch. It lies on the device, or
    on disk, and then each of the devices that share a batch reads its part.

    Args:
        task: the Task.
        train: task.examples.train, handed in so that it is an argument of the program; else ().
        key: the stream's key.
        number: [] integer k.
        batch_size: B, at most the number of examples.
        parts: devices along the mesh's `data` axis, where this runs on it.
    """
    if task.examples is None:
        return task.sample(jax.random.fold_in(key, number), batch_size)
    count = count_of(train)
    batches = count // batch_size

    def chosen(number: Array) -> Array:
        order = jax.random.fold_in(key, number // batches)
        places = (number % batches) * batch_size + jnp.arange(batch_size)
        return jax.vmap(lambda place: shuffled(order, place, count))(places)

    if not isinstance(train, Streamed):
        return task.examples.batch(pick(train, chosen(number)))
    mine = [my_share(chosen(k), 0, parts) for k in (number, number + 1)]
    return task.examples.batch(gathered(pick(train, *mine), 0, parts))


def shuffled(key: Array, place: Array, count: int) -> Array:
    """Which of 0 ... count-1 stands at a place of the order that `key` names, without the whole order.

    A Feistel network permutes the numbers of 2n bits; one that falls outside the range is sent
    through again until it falls inside. (Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains", cycle walking)
    """
    bits = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = jnp.uint32((1 << bits) - 1)
    keys = jax.random.bits(key, (ROUNDS,), jnp.uint32)

    def permute(number: Array) -> Array:
        left, right = number >> bits, number & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right ^ round_key) & mask)
        return (left << bits) | right

    return jax.lax.while_loop(lambda number: number >= count, permute, permute(place.astype(jnp.uint32)))


def _mix(x: Array) -> Array:
    """MurmurHash3's finalizer: every bit of 32 depends on every other. (Appleby 2011, public domain)"""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

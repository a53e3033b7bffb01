"""The stream of batches: batch k of a run is a pure function of the run's key and k."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.types import Array, Batch, PyTree, Task

ROUNDS = 6


def train_batch(task: Task, train: PyTree, key: Array, number: Array, batch_size: int) -> Batch:
    """Batch `number` of the stream that `key` names.

    A synthetic task is sampled anew. Real data is read in epochs of whole batches, each epoch in an
    order of its own; the few examples that are left over wait for another epoch.

    Args:
        task: the Task.
        train: task.examples.train, handed in so that it is an argument of the program; else ().
        key: the stream's key.
        number: [] integer k.
        batch_size: B, at most the number of examples.
    """
    if task.examples is None:
        return task.sample(jax.random.fold_in(key, number), batch_size)
    count = size(train)
    batches = count // batch_size
    order = jax.random.fold_in(key, number // batches)
    places = (number % batches) * batch_size + jnp.arange(batch_size)
    chosen = jax.vmap(lambda place: shuffled(order, place, count))(places)
    return task.examples.batch(jax.tree.map(lambda leaf: leaf[chosen], train))


def size(examples: PyTree) -> int:
    """How many examples a split holds."""
    return jax.tree.leaves(examples)[0].shape[0]


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

"""The stream of batches: batch k of a run is a pure function of the run's key and k."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.data.streamed import Streamed, count_of, pick
from seqjax.training.split import gathered, my_share
from seqjax.types import Array, Batch, Examples, PyTree, Task

ROUNDS = 6


def train_batch(task: Task, train: PyTree, key: Array, number: Array, batch_size: int, parts: int = 1) -> Batch:
    """Batch `number` of the stream that `key` names.

    A synthetic task is sampled anew. Real data is read in epochs of whole batches, each epoch in an
    order of its own; the few examples that are left over wait for another epoch. It lies on the device, or
    on disk, and then each of the devices that share a batch reads its part. Windows of a text are read in their
    order, batch_size parts of it side by side, and so by every run.

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
    if task.examples.streams:
        here, following = (_in_order(train, k, batch_size) for k in (number, number + 1))
        return task.examples.batch(pick(train, here, following))
    if not isinstance(train, Streamed):
        return task.examples.batch(pick(train, _mixed(train, key, number, batch_size)))
    mine = [my_share(_mixed(train, key, k, batch_size), 0, parts) for k in (number, number + 1)]
    return task.examples.batch(gathered(pick(train, *mine), 0, parts))


def on_batch(
    function: Callable[[Batch], PyTree],
    task: Task,
    train: PyTree,
    key: Array,
    number: Array,
    batch_size: int,
    parts: int = 1,
) -> PyTree:
    """function(batch) of batch `number`, of which padding that no sequence of it needs is cut off.

    As `train_batch`, but where the examples have `steps` a batch is of examples of about the same length.
    """
    if task.examples is None or task.examples.steps is None:
        return function(train_batch(task, train, key, number, batch_size, parts))
    rows = _alike(task.examples.steps(train), key, number, batch_size)
    return cut(function, task.examples, pick(train, rows))


def cut(function: Callable[[Batch], PyTree], examples: Examples, picked: PyTree, every: int = 1) -> PyTree:
    """function(batch) of the examples picked, with the fewest of `examples.cuts` steps that hold them.

    The function is compiled once for each cut, or for every third of them, and which one runs is found while
    the program runs. Under vmap all of them would be computed: such data wants its runs one after the other.
    """
    batch = examples.batch(picked)
    if examples.steps is None:
        return function(batch)
    whole = jax.tree.leaves(batch.inputs)[0].shape[0]
    cuts = sorted({min(steps, whole) for steps in examples.cuts[::-every]} | {whole})
    which = jnp.searchsorted(jnp.asarray(cuts), jnp.max(examples.steps(picked)))
    branches = [lambda batch, steps=steps: function(first_steps(batch, steps)) for steps in cuts]
    return jax.lax.switch(which, branches, batch)


def first_steps(batch: Batch, steps: int) -> Batch:
    """The batch without what comes after so many steps."""
    begin = lambda tree: jax.tree.map(lambda leaf: leaf[:steps], tree)  # noqa: E731
    cut = batch._replace(inputs=begin(batch.inputs))
    return cut._replace(targets=begin(cut.targets), mask=begin(cut.mask)) if batch.mask.ndim == 2 else cut


def begins(train: PyTree, number: Array, batch_size: int) -> Array:
    """Whether batch `number` of windows of a text is the first of its parts."""
    return number % (count_of(train) // batch_size) == 0


def _in_order(train: PyTree, number: Array, batch_size: int) -> Array:
    """Which windows are in batch `number` [B]: each follows the one at its place in the batch before."""
    each = count_of(train) // batch_size
    return jnp.arange(batch_size) * each + number % each


def _mixed(train: PyTree, key: Array, number: Array, batch_size: int) -> Array:
    """Which examples are in batch `number` [B]."""
    count = count_of(train)
    batches = count // batch_size
    order = jax.random.fold_in(key, number // batches)
    places = (number % batches) * batch_size + jnp.arange(batch_size)
    return jax.vmap(lambda place: shuffled(order, place, count))(places)


def _alike(steps: Array, key: Array, number: Array, batch_size: int) -> Array:
    """Which examples are in batch `number` [B], all of about the same length.

    Each epoch sorts them by length, equal ones in an order of its own, cuts that into groups from a
    place of its own on, and takes the groups in an order of its own.
    """
    count = len(steps)
    batches = count // batch_size
    ties, groups, place = jax.random.split(jax.random.fold_in(key, number // batches), 3)
    ranked = jnp.argsort(steps + jax.random.uniform(ties, (count,)))
    start = jax.random.randint(place, (), 0, count % batch_size + 1)
    group = shuffled(groups, number % batches, batches)
    return ranked[start + group.astype(jnp.int32) * batch_size + jnp.arange(batch_size)]


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

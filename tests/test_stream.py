"""Stored examples: the order in which they are trained on, and the whole split when they are evaluated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import stored

from seqjax.training.evaluation import evaluate
from seqjax.training.stream import on_batch, shuffled, train_batch
from seqjax.types import Model


@pytest.mark.parametrize("count", [1, 2, 3, 10, 64, 65, 1000])
def test_shuffled_is_a_permutation(count):
    each = jax.vmap(jax.vmap(lambda key, place: shuffled(key, place, count), (None, 0)), (0, None))
    orders = np.asarray(jax.jit(lambda places: each(jax.random.split(jax.random.key(0), 3), places))(np.arange(count)))
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count >= 64:
        assert abs(np.corrcoef(orders[0], np.arange(count))[0, 1]) < 0.4
        assert (orders[0] != orders[1]).mean() > 0.8


def test_the_shuffle_is_uniform():
    """Where place 0 goes, over many keys: every one of 10 examples about equally often."""
    each = jax.jit(lambda key: jax.vmap(lambda key: shuffled(key, jnp.int32(0), 10))(jax.random.split(key, 5000)))
    counts = np.bincount(np.asarray(each(jax.random.key(1))), minlength=10)
    assert np.sum((counts - 500) ** 2 / 500) < 27.9  # chi-square with 9 degrees of freedom, p = .001


def test_real_data_is_read_in_epochs():
    task, key = stored(13), jax.random.key(0)
    batch = lambda train, k: train_batch(task, train, key, k, 4).targets  # noqa: E731
    seen = np.asarray(jax.jit(jax.vmap(batch, (None, 0)))(task.examples.train, np.arange(9)))
    for epoch in range(3):
        assert len(set(np.concatenate(seen[3 * epoch : 3 * epoch + 3]).tolist())) == 12
    assert not np.array_equal(np.concatenate(seen[:3]), np.concatenate(seen[3:6]))


def epochs_of_like_length(steps, count, batch_size, epochs):
    """Which examples are in each batch of each epoch [epochs, batches, B], where example n needs steps(n)."""
    task, key, batches = stored(count), jax.random.key(0), count // batch_size
    task = task._replace(examples=task.examples._replace(steps=steps))
    read = lambda train, k: on_batch(lambda batch: batch.targets, task, train, key, k, batch_size)  # noqa: E731
    take = jax.jit(lambda train, numbers: jax.lax.map(lambda k: read(train, k), numbers))
    return np.asarray(take(task.examples.train, np.arange(epochs * batches))).reshape(epochs, batches, batch_size)


def test_examples_of_one_length_meet_others_in_every_epoch():
    epochs = epochs_of_like_length(lambda n: 0 * n + 7, 12, 3, epochs=4)
    np.testing.assert_array_equal(np.sort(epochs.reshape(4, 12)), np.tile(np.arange(12), (4, 1)))
    assert len({frozenset(frozenset(batch) for batch in epoch) for epoch in epochs.tolist()}) == 4


def test_neither_the_shortest_nor_the_longest_examples_are_always_left_over():
    """14 examples, each of its own length, in batches of 4: an epoch leaves 2 out, and not the same ones."""
    epochs = epochs_of_like_length(lambda n: n, 14, 4, epochs=20)
    assert (np.diff(np.sort(epochs)) == 1).all() and all(len(set(epoch.ravel().tolist())) == 12 for epoch in epochs)
    np.testing.assert_array_equal(np.unique(epochs), np.arange(14))


def test_evaluation_reads_the_whole_test_split():
    model = Model(None, lambda params, inputs, lengths: (inputs[0], ()), None, None, None)
    sizes = (1, 2, 5, 1000)
    each = jax.jit(lambda test: [evaluate(stored(3), model, (), test, size)["loss"] for size in sizes])
    assert each(np.arange(5)) == [2.0] * 4

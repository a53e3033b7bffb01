"""A program small enough to be trained in seconds, what it leaves, and a task whose examples are numbers."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.training import Config, prepare, train
from seqjax.training.checkpoint import Checkpoints
from seqjax.training.preparing import initialize
from seqjax.types import Batch, Examples, Task

SMALL = Config(
    cell="lstm(hidden=4)",
    task="parity(length=6, min_length=2)",
    learning_rates=(1e-2, 3e-2),
    seeds=2,
    steps=6,
    batch_size=4,
    eval_every=2,
    eval_size=8,
    probe_every=4,
    probe_size=3,
    checkpoint_every=4,
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def final_state(directory):
    checkpoints = Checkpoints(directory / "checkpoints")
    _, state = checkpoints.latest()
    checkpoints.close()
    return state


once = functools.cache(prepare)  # of one configuration the program is compiled once


def trained_and_measured(program, state, steps, data):
    """(state, metrics) after so many steps and the evaluation at their end."""
    return program.evaluate(program.train(state, steps, data), data)


def run_all(config, mesh="run=1"):
    """The states after one chunk, in the order of the runs; where only the runs differ, by one program."""
    prepared = once(config, mesh)
    places = prepared.layout
    state = places.put(initialize(prepared))
    data = places.put(prepared.program.data, shared=True)
    alike = once(config._replace(learning_rates=(0.1, 0.2), seeds=2, first_seed=0), mesh)
    state, metrics = trained_and_measured(alike.compiled, state, np.int32(config.steps), data)
    order = [int(np.flatnonzero(places.slots == number)[0]) for number in range(len(config.runs))]
    return jax.tree.map(lambda leaf: np.asarray(leaf)[order], (state, metrics))


def stopped_and_gone_on_with(prepared, folder):
    """Train in folder/run as far as step 2, then to the end; to the bit the records are those of folder/whole."""

    def stop(step, words):
        if step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(prepared, folder / "run", command="test", progress=stop)
    train(prepared, folder / "run", command="test", resume=True)
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (folder / "run" / name).read_bytes() == (folder / "whole" / name).read_bytes()


def stored(count):
    """A task whose stored example n is the number n."""
    examples = Examples(np.arange(count), np.arange(5), lambda n: Batch(n[None, :, None], n, jnp.ones(n.shape)))
    error = lambda outputs, batch: jnp.mean(batch.targets * batch.mask) * len(batch.mask) / jnp.sum(batch.mask)  # noqa: E731
    return Task(None, error, error, None, 1, 1, 0.0, "last", examples=examples)

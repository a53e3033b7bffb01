"""The state of one run, or of all runs of a program along a leading axis."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from seqjax.types import Array, PyTree

NEVER = -1


@struct.dataclass
class RunState:
    """Everything a run is; two runs of equal state go on alike.

    params, opt_state: what is learned, and the optimizer's memory
    key:               [2] uint32, the stream of batches, of dropout and of evaluation
    learning_rate:     [] the run's own
    step:              [] updates made
    solved_at:         [] step of the evaluation at which the task was first solved, or NEVER
    diverged_at:       [] step whose loss or gradient was not finite, or NEVER; the update was not made
    enabled:           [] False for a place of the run axis that only fills it up
    recent:            of the training since the last evaluation: `steps` [] made or tried, the sum of their
                       losses `loss` [], and the gradient's norm at the last, `grad_norm` [] (of a batch learned
                       online, the root mean square of its steps')
    carry:             what the model carries from one window of a text to the next; else ()
    chosen:            where a split selects, the least `loss` [] on it so far and the `params` that had it; else ()
    """

    params: PyTree
    opt_state: PyTree
    key: Array
    learning_rate: Array
    step: Array
    solved_at: Array
    diverged_at: Array
    enabled: Array
    recent: dict[str, Array]
    carry: PyTree = ()
    chosen: PyTree = ()

    def going(self, stop_when_solved: bool) -> Array:
        """Whether the run is still to be trained: neither diverged nor, if that stops it, solved."""
        going = self.enabled & (self.diverged_at == NEVER)
        return going & (self.solved_at == NEVER) if stop_when_solved else going

    def stream(self, name: str) -> Array:
        """A key of the run for one purpose: 'init', 'train', 'dropout' or 'eval'."""
        return jax.random.fold_in(jax.random.wrap_key_data(self.key), STREAMS.index(name))


def to_keep(runs: RunState) -> dict[str, PyTree]:
    """What a checkpoint holds of runs: their fields by name; `carry`, `chosen` and `recent` only where not empty.

    So one without these is read as well.
    """
    empty = {name: not jax.tree.leaves(getattr(runs, name)) for name in ("carry", "chosen")}
    empty["recent"] = not np.any(runs.recent["steps"])
    fields = {field.name: getattr(runs, field.name) for field in dataclasses.fields(runs)}
    return {name: field for name, field in fields.items() if not empty.get(name)}


def nothing_recent() -> dict[str, Array]:
    """`recent` of a run that has just been evaluated."""
    return {"steps": jnp.zeros((), jnp.int32), "loss": jnp.zeros(()), "grad_norm": jnp.zeros(())}


STREAMS = ("init", "train", "dropout", "eval")


def blank(seed: Array, learning_rate: Array, enabled: Array) -> RunState:
    """A run that has a seed and nothing else yet."""
    never = jnp.asarray(NEVER, jnp.int32)
    key = jax.random.key_data(jax.random.key(seed))
    return RunState((), (), key, learning_rate, jnp.zeros((), jnp.int32), never, never, enabled, nothing_recent())


def decided(solved_at: np.ndarray, diverged_at: np.ndarray, done: int) -> bool:
    """Whether the best learning rate is known: all its seeds have solved the task, and no other can come before it.

    Of two rates at which all seeds solve the task, the one of the lower median of steps is the better. At a
    rate that still can solve it with all seeds, those that have not are taken to do so one step from now.

    solved_at, diverged_at: [learning rates, seeds]; done: the steps made
    """
    lost = (diverged_at != NEVER).any(1)
    solved = (solved_at != NEVER).all(1) & ~lost
    earliest = np.median(np.where(solved_at == NEVER, done + 1, solved_at), 1)
    return bool(solved.any() and (earliest[~solved & ~lost] > earliest[solved].min()).all())

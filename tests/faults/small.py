"""A run small enough to be broken many times, and everything of it that must be equal bit for bit."""

import json

import jax
import numpy as np
from hypothesis import HealthCheck, settings
from small_runs import SMALL, once

from seqjax.training import train
from seqjax.training.checkpoint import Checkpoints

THOROUGH = False  # with --all-faults
RUN = SMALL._replace(learning_rates=(1e-2, 1e38), steps=8, checkpoint_every=2)  # at the second rate it diverges


def trained(directory, config=RUN, **others):
    return train(once(config, "run=1,map"), directory, command="test", **others)


def acting(module, monkeypatch, at, act):
    """Let the training of a script do something once it has told of a step; a list of the steps told of."""
    told = []

    def train_and_act(prepared, directory, *, progress, **others):
        def tell(step, words):
            told.append(step)
            progress(step, words)
            if step == at:
                act()

        return train(prepared, directory, progress=tell, **others)

    monkeypatch.setattr(module, "train", train_and_act)
    return told


def bits(directory):
    """The bytes of what was recorded and of every array of the last state; the seconds it took left out."""
    checkpoints = Checkpoints(directory / "checkpoints")
    step, state = checkpoints.latest()
    checkpoints.close()
    found = {name: (directory / name).read_bytes() for name in ("metrics.jsonl", "gradients.jsonl")}
    found |= {
        jax.tree_util.keystr(path): (np.asarray(leaf).dtype, np.asarray(leaf).shape, np.asarray(leaf).tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(state["runs"])
    }
    return found | {"step": step, "runs": json.loads((directory / "result.json").read_text())["runs"]}


def tries(few, many):
    """Settings of hypothesis: so many examples by default, so many with --all-faults; the same ones every time."""
    return settings(
        max_examples=many if THOROUGH else few,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )

"""A finite loss with a gradient that is not: the run has diverged, keeps what it had and solves nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import trained_and_measured

from seqjax.training import Config
from seqjax.training.program import make_program
from seqjax.training.state import NEVER
from seqjax.types import Batch, Model, Task


@jax.jit
def trained(weight, x):
    """Three steps of a run with the loss sqrt(w x), and an evaluation that finds it solved below 2."""
    loss = lambda outputs, batch: jnp.sqrt(jnp.mean(outputs))  # noqa: E731
    sample = lambda key, size: Batch(jnp.full((1, size, 1), x), jnp.zeros((size, 1)), jnp.ones(size))  # noqa: E731
    task = Task(sample, loss, loss, lambda metrics: metrics["loss"] < 2, 1, 1, 0.0, "last")
    model = Model(lambda key: jnp.full(1, weight), lambda w, xs, lengths, **_: (w * xs[0], ()), None, None, None)
    program = make_program(Config("", ""), task, task, model, select_task=task)
    return trained_and_measured(program, program.init(0, jnp.float32(0.1), jnp.array(True)), 3, program.data)


AT_ZERO = pytest.mark.parametrize("weight, x", [(0.0, 1.0), (1.0, 0.0)], ids=["infinite slope", "slope of NaN"])


@AT_ZERO
def test_a_run_ends_where_its_gradient_is_not_finite(weight, x):
    run, metrics = trained(weight, x)
    assert metrics["train_loss"] == 0 and not np.isfinite(metrics["grad_norm"])
    assert (int(run.diverged_at), int(run.step), run.params.tolist()) == (1, 0, [weight])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.opt_state))


@AT_ZERO
def test_a_run_that_has_diverged_is_neither_solved_nor_selected_by_what_it_kept(weight, x):
    run, metrics = trained(weight, x)
    assert metrics["loss"] < 2 and int(run.solved_at) == NEVER and np.isinf(run.chosen["loss"])


def test_a_run_with_a_finite_gradient_goes_on_and_is_solved():
    run, _ = trained(1.0, 1.0)
    assert (int(run.diverged_at), int(run.step), int(run.solved_at)) == (NEVER, 3, 3) and run.params[0] < 1
    assert np.isfinite(run.chosen["loss"]) and run.chosen["params"] == run.params

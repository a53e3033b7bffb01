"""A finite loss with a gradient that is not: the run has diverged, keeps what it had and solves nothing.

A gradient whose square alone is beyond float32 is finite, and clipped.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import clip_by_global_norm as theirs
from small_runs import trained_and_measured

from seqjax.training import Config
from seqjax.training.clipping import clip_by_norm, norm
from seqjax.training.program import make_program
from seqjax.training.state import NEVER
from seqjax.types import Batch, Model, Task


@partial(jax.jit, static_argnames=("power", "clip_norm", "optimizer"))
def trained(weight, x, power=0.5, clip_norm=1.0, optimizer="adam"):
    """Three steps of a run with the loss (w x)^power, and an evaluation that finds it solved below 2."""
    loss = lambda outputs, batch: jnp.mean(outputs) ** power  # noqa: E731
    sample = lambda key, size: Batch(jnp.full((1, size, 1), x), jnp.zeros((size, 1)), jnp.ones(size))  # noqa: E731
    task = Task(sample, loss, loss, lambda metrics: metrics["loss"] < 2, 1, 1, 0.0, "last")
    model = Model(lambda key: jnp.full(2, weight), lambda w, xs, lengths, **_: (w * xs[0], ()), None, None, None)
    config = Config("", "", clip_norm=clip_norm, optimizer=optimizer)
    program = make_program(config, task, task, model, select_task=task)
    return trained_and_measured(program, program.init(0, jnp.float32(0.1), jnp.array(True)), 3, program.data)


AT_ZERO = pytest.mark.parametrize("weight, x", [(0.0, 1.0), (1.0, 0.0)], ids=["infinite slope", "slope of NaN"])


@AT_ZERO
def test_a_run_ends_where_its_gradient_is_not_finite(weight, x):
    run, metrics = trained(weight, x)
    assert metrics["train_loss"] == 0 and not np.isfinite(metrics["grad_norm"])
    assert (int(run.diverged_at), int(run.step), run.params.tolist()) == (1, 0, [weight] * 2)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.opt_state))


@AT_ZERO
def test_a_run_that_has_diverged_is_neither_solved_nor_selected_by_what_it_kept(weight, x):
    run, metrics = trained(weight, x)
    assert metrics["loss"] < 2 and int(run.solved_at) == NEVER and np.isinf(run.chosen["loss"])


def test_a_run_with_a_finite_gradient_goes_on_and_is_solved():
    run, _ = trained(1.0, 1.0)
    assert (int(run.diverged_at), int(run.step), int(run.solved_at)) == (NEVER, 3, 3) and run.params[0] < 1
    assert np.isfinite(run.chosen["loss"]) and (run.chosen["params"] == run.params).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_gradient_whose_square_overflows_is_clipped_and_the_run_goes_on(optimizer):
    """Three steps downhill, of 0.1 together or each, where the norm would be infinite by its square."""
    run, metrics = trained(1.0, 1e25, power=1, optimizer=optimizer)
    assert (int(run.diverged_at), int(run.step)) == (NEVER, 3)
    np.testing.assert_allclose(metrics["grad_norm"], 1e25 / 2**0.5, rtol=1e-6)
    np.testing.assert_allclose(run.params, 1 - 0.3 / (2**0.5 if optimizer == "sgd" else 1), rtol=1e-5)


def test_where_nothing_clips_it_the_run_ends_there():
    """Else its square would stand in Adam's averages for ever, and nothing would move."""
    run, metrics = trained(1.0, 1e25, power=1, clip_norm=None)
    assert (int(run.diverged_at), int(run.step)) == (1, 0) and np.isinf(metrics["grad_norm"])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_usual_gradients_are_clipped_as_by_optax_to_the_bit(dtype):
    key = jax.random.split(jax.random.key(0))
    for size in (1e-3, 0.3, 1.0, 40.0, 1e9):
        grads = [jax.random.normal(key[0], (5, 3), dtype), jax.random.normal(key[1], (7,), dtype)]
        grads = jax.tree.map(lambda leaf: size * leaf, grads)  # noqa: B023
        (found, wanted) = (clip.update(grads, clip.init(grads))[0] for clip in (clip_by_norm(2.0), theirs(2.0)))
        jax.tree.map(np.testing.assert_array_equal, found, wanted)
        assert norm(grads) == optax.tree.norm(grads)
        assert all(leaf.dtype == dtype for leaf in found)


def test_what_is_clipped_keeps_its_direction_up_to_the_largest_float(float64):
    direction = np.random.default_rng(0).normal(size=50)
    direction /= np.linalg.norm(direction)
    for length in (1e18, 1e20, 1e30, 3e38):
        grads = jnp.asarray(direction * length, jnp.float32)
        found, _ = clip_by_norm(5.0).update({"w": grads}, optax.EmptyState())
        np.testing.assert_allclose(found["w"], 5 * direction, rtol=1e-5)
        np.testing.assert_allclose(norm(grads), length, rtol=1e-5)
    beyond, _ = clip_by_norm(1e25).update(jnp.asarray(direction * 1e30, jnp.float32), optax.EmptyState())
    np.testing.assert_allclose(beyond, direction * 1e25, rtol=1e-5)
    for lost in (np.inf, np.nan):
        assert not np.isfinite(norm({"a": jnp.array([1.0, lost]), "b": jnp.ones(3)}))

"""Learning online: each step's gradient, with the parameters as they were at each step before."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract import noise, shaped
from small_runs import SMALL, once, run_all, stopped_and_gone_on_with

from seqjax import Batch, Cell, UserError, cells, spec
from seqjax.models import sequence_model
from seqjax.tasks.embedded_reber import embedded_reber
from seqjax.training import memory, prepare, train
from seqjax.training.online import learn

TASK = embedded_reber(outputs="sigmoid")
READ = np.array([[0, 1], [3, 2], [6, 6], [1, 4], [5, 0]])  # [T, B] symbols
ONLINE = SMALL._replace(task="embedded_reber", online=True, optimizer="sgd", eval_every=5)


def begin(form="lstm(hidden=3)", mask=None, lengths=None):
    """A model of two layers over seven symbols, parameters without a zero in them, and a batch."""
    model = sequence_model(spec.build(form, [cells], Cell), 7, 7, layers=2, tokens=True)
    targets = np.abs(noise(5, *READ.shape, 7)) % 1
    mask = np.ones(READ.shape) if mask is None else np.array(mask, float)
    return model, shaped(model.init, 0.5), Batch(jnp.asarray(READ), jnp.asarray(targets), jnp.asarray(mask), lengths)


def by_hand(model, params, batch, optimizer):
    """The definition: at each step the gradient in one change of the parameters of all steps so far.

    No derivative is carried forwards here: each step's loss is differentiated through a walk over all steps before.
    """
    state, used, losses, norms = optimizer.init(params), [], [], []
    for t in range(len(batch.mask)):
        used.append(params)

        def at(change, t=t):
            carry = None
            for k, before in enumerate(used):
                now = jax.tree.map(jnp.add, before, change)
                outputs, carry = model.apply(now, batch.inputs[k : k + 1], carry=carry)
            return TASK.loss(outputs, jax.tree.map(lambda leaf: leaf[t : t + 1], batch._replace(lengths=None)))

        if not batch.mask[t].any():
            continue
        value, grads = jax.value_and_grad(at)(jax.tree.map(jnp.zeros_like, params))
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value * batch.mask[t].sum())
        norms.append(optax.tree.norm(grads))
    return params, sum(losses) / batch.mask.sum(), np.sqrt(np.mean(np.square(norms)))


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-12), one, other)


@pytest.mark.parametrize("optimizer", [optax.sgd(0.5), optax.adam(0.1)], ids=["sgd", "adam"])
@pytest.mark.parametrize(
    ("form", "mask", "lengths"),
    [
        ("lstm(hidden=3)", None, None),
        ("gru(hidden=3)", [[1, 0], [1, 1], [0, 0], [1, 1], [0, 1]], None),
        ("rnn(hidden=3)", [[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]], [5, 2]),
        ("scaled(cell='lstm(hidden=3)', h=0.0)", None, None),
    ],
)
def test_updates_are_those_of_the_definition(form, mask, lengths, optimizer, float64):
    """Also where a step asks nothing, which moves nothing, not even the optimizer, and behind a sequence's end."""
    lengths = None if lengths is None else jnp.array(lengths)
    model, params, batch = begin(form, mask, lengths)
    found = jax.jit(lambda p: learn(TASK, model, optimizer, p, optimizer.init(p), (), batch))(params)
    wanted, value, norm = by_hand(model, params, batch, optimizer)
    close((found[0], found[3], found[4]), (wanted, value, norm))


def test_a_text_in_two_windows_is_the_text(float64):
    """What is carried on is the state and what moved it there."""
    model, params, batch = begin()
    optimizer = optax.sgd(0.5)
    first, second = (jax.tree.map(lambda leaf, part=part: leaf[part], batch) for part in (slice(2), slice(2, None)))
    whole = learn(TASK, model, optimizer, params, optimizer.init(params), (), batch)
    begun = learn(TASK, model, optimizer, params, optimizer.init(params), (), first)
    ended = learn(TASK, model, optimizer, *begun[:3], second)
    close(ended[:3], whole[:3])


@pytest.mark.parametrize("task", ["embedded_reber", "continual_reber(length=5, carried=2000)"])
def test_training_online_lowers_the_loss(task):
    config = ONLINE._replace(task=task, cell="lstm(hidden=4)", learning_rates=(0.2,), seeds=2, batch_size=2, steps=300)
    state, metrics = run_all(config)
    assert np.all(state.step == 300) and np.all(metrics["loss"] < 0.8 * np.log(7)), metrics


def test_a_step_that_is_not_finite_leaves_the_sequence_out():
    state, _ = run_all(ONLINE._replace(learning_rates=(1e30,), seeds=1, steps=5, clip_norm=None))
    assert state.diverged_at[0] > 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "adding(length=5)"}, "--task='adding(length=5)' is not asked at every step"),
        ({"dropout": 0.5, "layers": 2}, "--online: --dropout=0.5 is of a gradient over time"),
        ({"penalty": "vanishing"}, "--online: --penalty=vanishing"),
        ({"strategy": "truncated(window=2)"}, "--online: --strategy=truncated(window=2) is of a gradient over time"),
        (
            {"cell": "skip(cell='clipped(hidden=2, norm=1.0)')"},
            "changes its gradient on the way back, and RTRL has no way back",
        ),
        ({"cell": "lstm(hidden=512)"}, "RTRL keeps at most 50000000 numbers"),
    ],
)
def test_what_cannot_be_learned_online_is_said(settings, words):
    with pytest.raises(UserError, match=re.escape(words)):
        prepare(ONLINE._replace(**settings))


def test_a_batch_of_a_step_is_not_cut_into_parts():
    with pytest.raises(UserError, match="--mesh has data=2; expected 1"):
        prepare(ONLINE, "data=2")


def test_a_text_is_gone_on_with_bit_for_bit(tmp_path):
    """What moved the state to where it is belongs to the state."""
    task = "continual_reber(length=5, carried=2000)"
    prepared = once(ONLINE._replace(task=task, seeds=1, learning_rates=(0.1,), eval_every=2))
    train(prepared, tmp_path / "whole", command="test")
    stopped_and_gone_on_with(prepared, tmp_path)


def test_what_memory_must_hold_does_not_grow_with_the_length(monkeypatch):
    """The gradient forwards in time is as large for 49 steps as for one; its matrices are counted."""
    monkeypatch.setattr(memory, "at_hand", lambda: 3_000_000)
    wide = ONLINE._replace(cell="lstm(hidden=24)", seeds=1, learning_rates=(0.1,), eval_size=1)
    prepare(wide)
    monkeypatch.setattr(memory, "at_hand", lambda: 1_000_000)
    with pytest.raises(UserError, match=r"influence .* MB.* expected a smaller cell, or a smaller --batch_size"):
        prepare(wide)

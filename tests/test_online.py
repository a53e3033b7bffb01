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
from seqjax.data.streamed import count_of
from seqjax.models import sequence_model
from seqjax.tasks.embedded_reber import embedded_reber
from seqjax.training import memory, prepare, train
from seqjax.training.clipping import norm
from seqjax.training.online import learn
from seqjax.training.stream import on_batch

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
    found = jax.jit(lambda p: learn(TASK, model, optimizer, norm, p, optimizer.init(p), (), batch))(params)
    wanted, value, size = by_hand(model, params, batch, optimizer)
    close((found[0], found[3], found[4]), (wanted, value, size))


def test_behind_its_end_a_sequence_stands_still(float64):
    """Where it stood, and what moved it there, as after its last step."""
    mask = [[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]]
    model, params, batch = begin("rnn(hidden=3)", mask, jnp.array([5, 2]))
    optimizer = optax.sgd(0.5)
    shorter = jax.tree.map(lambda leaf: leaf[:2], batch._replace(lengths=None))
    ended, at_two = (
        learn(TASK, model, optimizer, norm, params, optimizer.init(params), (), b)[2] for b in (batch, shorter)
    )
    close(*(jax.tree.map(lambda leaf: leaf[1], each) for each in (ended, at_two)))
    assert not np.allclose(ended.state[0], at_two.state[0])


def test_a_text_in_two_windows_is_the_text(float64):
    """What is carried on is the state and what moved it there."""
    model, params, batch = begin()
    optimizer = optax.sgd(0.5)
    first, second = (jax.tree.map(lambda leaf, part=part: leaf[part], batch) for part in (slice(2), slice(2, None)))
    whole = learn(TASK, model, optimizer, norm, params, optimizer.init(params), (), batch)
    begun = learn(TASK, model, optimizer, norm, params, optimizer.init(params), (), first)
    ended = learn(TASK, model, optimizer, norm, *begun[:3], second)
    close(ended[:3], whole[:3])


def test_a_text_is_carried_from_batch_to_batch():
    """Two batches of the program are one sequence of both; where the text begins anew, nothing is carried."""
    config = ONLINE._replace(task="continual_reber(length=5, carried=2000)", learning_rates=(0.3,), batch_size=1)
    prepared = prepare(config)
    task, model, program = prepared.task, prepared.model, prepared.program
    run = program.init(jnp.int32(0), jnp.float32(0.3), jnp.bool_(True))
    train, optimizer = program.data[0], optax.chain(optax.clip_by_global_norm(config.clip_norm), optax.sgd(0.3))
    batches = [on_batch(lambda b: b, task, train, run.stream("train"), number, 1) for number in (0, 1)]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)
    whole = learn(task, model, optimizer, norm, run.params, optimizer.init(run.params), (), joined)
    close_enough = lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6)  # noqa: E731
    jax.tree.map(close_enough, program.train(run, 2, program.data).params, whole[0])
    again = run.replace(step=jnp.int32(count_of(train)), carry=whole[2])  # the text is read: its first batch follows
    once_more, first = (program.train(each, 1, program.data).params for each in (again, run))
    jax.tree.map(np.testing.assert_array_equal, once_more, first)


@pytest.mark.parametrize("online", [True, False])
def test_a_schedule_is_told_the_batch(online):
    """And not how many steps the batches before it had."""
    config = ONLINE._replace(seeds=1, learning_rates=(0.3,), batch_size=1, online=online)
    still = config._replace(schedule="piecewise_constant_schedule(boundaries_and_scales={2: 0.0})")
    runs = [prepare(each).program for each in (config, still)]
    begun = runs[0].init(jnp.int32(0), jnp.float32(0.3), jnp.bool_(True))
    two, three = (runs[1].train(begun, steps, runs[1].data).params for steps in (2, 3))
    jax.tree.map(np.testing.assert_array_equal, two, runs[0].train(begun, 2, runs[0].data).params)
    jax.tree.map(np.testing.assert_array_equal, three, two)
    assert not np.array_equal(two["around"]["head"]["kernel"], begun.params["around"]["head"]["kernel"])


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
        ({"task": "adding(length=5)"}, "not asked at every step; an update after each sequence is the same"),
        ({"dropout": 0.5, "layers": 2}, "--online: --dropout=0.5 is of a gradient over time"),
        ({"penalty": "vanishing"}, "--online: --penalty=vanishing"),
        ({"bidirectional": True}, "--online: --bidirectional reads what is still to come"),
        ({"strategy": "truncated(window=2)"}, "--online: --strategy=truncated(window=2) is of a gradient back in time"),
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
    """The gradient forwards in time is as large for many steps as for few; its matrices are counted, and the probe."""
    monkeypatch.setattr(memory, "at_hand", lambda: 3_000_000)
    wide = ONLINE._replace(cell="lstm(hidden=24)", seeds=1, learning_rates=(0.1,), eval_size=1, probe_size=1)
    for length in (5, 500):
        prepare(wide._replace(task=f"continual_reber(length={length})"))
    with pytest.raises(UserError, match=r"probe .* MB.* expected shorter sequences, or a smaller --probe_size"):
        prepare(wide._replace(task="continual_reber(length=500)", probe_size=32))
    monkeypatch.setattr(memory, "at_hand", lambda: 1_000_000)
    with pytest.raises(UserError, match=r"influence .* MB.* expected a smaller cell, or a smaller --batch_size"):
        prepare(wide)

"""Adjoints and norms: against the zero nudge, explicit Jacobian products, closed forms, and underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise

from seqjax import Cell, Task, UserError, cells, spec, tasks, unroll, zero_nudge
from seqjax.gradients import adjoints, backward, gradient_norms, log10_norms, model_adjoints
from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.models import sequence_model
from seqjax.types import Batch, Direction
from seqjax.unroll import recording


def make(cell, task, **options):
    task = spec.build(task, [tasks], Task)
    cell = spec.build(cell, [cells], Cell)
    model = sequence_model(cell, task.input_size, task.output_size, readout=task.readout, tokens=task.tokens, **options)
    return task, cell, model


def plain(scaled):
    return jax.tree.map(lambda leaf: leaf * jnp.exp(scaled.log)[..., None], scaled.value)


@pytest.mark.parametrize(
    "task, options",
    [
        ("adding(length=12)", {}),
        ("adding(length=12)", {"layers": 3}),
        ("temporal_order(length=20)", {"layers": 2, "bidirectional": True}),
        ("copy_memory(length=3, tokens=2)", {"layers": 2, "bidirectional": True}),
    ],
)
def test_recursion_is_the_zero_nudge(task, options):
    with jax.enable_x64(True):
        task, cell, model = make("lstm(hidden=3, peepholes=True)", task, **options)
        batch = task.sample(jax.random.key(0), 4)
        params = model.init(jax.random.key(1))
        xs = jnp.zeros((*batch.inputs.shape[:2], 1))
        nudge = jax.tree.map(
            lambda way: zero_nudge(cell, way.params, xs),
            model.layers(params),
            is_leaf=lambda node: isinstance(node, Direction),
        )

        def loss(nudge):
            return 4 * task.loss(model.apply(params, batch.inputs, batch.lengths, nudge=nudge)[0], batch)

        wanted = jax.jit(jax.grad(loss))(nudge)
        found = jax.jit(lambda params: model_adjoints(model, params, batch, task.loss))(params)
        found = jax.tree.map(plain, found, is_leaf=lambda node: isinstance(node, Scaled))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15), found, wanted)


@pytest.mark.parametrize("lengths", [None, [5, 2]])
def test_against_products_of_jacobians(lengths):
    """The Jacobians of an LSTM do not commute: their product in the wrong order is another number."""
    with jax.enable_x64(True):
        cell = spec.build("lstm(hidden=2)", [cells], Cell)
        params = cell.init(jax.random.key(0), 3)
        xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
        weights = jax.random.normal(jax.random.key(2), (5, 2, 2))  # L = Σ weights · y
        lengths = None if lengths is None else jnp.array(lengths)
        _, (carries, _) = unroll(recording(cell), params, xs, lengths=lengths)
        way = Direction(cell, params, False)
        find = jax.jit(lambda xs: backward(way, carries, xs, Scaled(weights, jnp.zeros((5, 2))), lengths)[0])
        found = plain(find(xs))
        for b in range(2):
            steps = 5 if lengths is None else int(lengths[b])
            delta = jnp.zeros(4)
            np.testing.assert_array_equal(found.h[steps:, b], 0)
            for t in reversed(range(steps)):

                def flat(s, t=t, b=b):
                    carry = type(carries)(s[:2], s[2:])
                    after, y = cell.step(params, carry, xs[t, b])
                    return jnp.concatenate([after.h, after.c]), y

                s = jnp.concatenate([carries.h[t, b], carries.c[t, b]])
                jacobian, output = jax.jit(jax.jacobian(flat))(s)
                delta = jacobian.T @ delta + output.T @ weights[t, b]
                np.testing.assert_allclose(jnp.concatenate([found.h[t, b], found.c[t, b]]), delta, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 1000])
def test_a_linear_cell_has_a_closed_form_far_below_float32(length):
    """δ_t = (W_hᵀ)^(T-t) ∂L/∂h_T, and W_h is ρ times a rotation: the norm falls by ρ a step."""
    task, _, model = make(
        "rnn(hidden=8, activation='identity', recurrent_scale=0.3)", f"adding(length={max(length, 2)})"
    )
    batch = task.sample(jax.random.key(0), 16)
    batch = batch._replace(inputs=batch.inputs[:length])
    norms = jax.jit(lambda params: gradient_norms(model, params, batch, task.loss))(model.init(jax.random.key(1)))
    curve = norms.log10_norm["layer_0/h"]
    assert curve.dtype == jnp.float32
    np.testing.assert_allclose(curve - curve[-1], np.arange(1 - length, 1) * -np.log10(0.3), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(norms.first_to_last, (length - 1) * np.log10(0.3), rtol=1e-5, atol=1e-4)


def test_norms_are_means_over_the_sequences_that_have_the_step():
    with jax.enable_x64(True):
        task, _, model = make("gru(hidden=4)", "parity(length=9, min_length=3)")
        batch = task.sample(jax.random.key(0), 6)
        params = model.init(jax.random.key(1))
        ((delta,),) = jax.jit(lambda params: model_adjoints(model, params, batch, task.loss))(params)
        norms = np.linalg.norm(plain(delta).h, axis=-1)
        lengths = np.asarray(batch.lengths)
        wanted = [np.log10(np.mean(norms[t, lengths > t])) for t in range(9) if (lengths > t).any()]
        found = jax.jit(lambda params: gradient_norms(model, params, batch, task.loss))(params)
        np.testing.assert_allclose(found.log10_norm["carry"][: len(wanted)], wanted, rtol=1e-10)
        np.testing.assert_allclose(
            found.first_to_last, np.log10(norms[0].mean() / norms[lengths - 1, np.arange(6)].mean()), rtol=1e-10
        )


def test_padding_and_batch_size_change_nothing():
    task, _, model = make("lstm(hidden=4)", "parity(length=6)")
    batch = task.sample(jax.random.key(0), 3)
    params = model.init(jax.random.key(1))
    norms = jax.jit(lambda batch: gradient_norms(model, params, batch, task.loss))
    short = norms(batch)
    padded = Batch(
        jnp.concatenate([batch.inputs, jnp.ones((4, 3), jnp.int32)]), batch.targets, batch.mask, jnp.full(3, 6)
    )
    padded = norms(padded)
    twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], -1), batch)
    twice = norms(twice)
    for name, curve in short.log10_norm.items():
        np.testing.assert_allclose(padded.log10_norm[name][:6], curve, rtol=1e-5)
        assert np.all(padded.log10_norm[name][6:] == -np.inf)
        np.testing.assert_allclose(twice.log10_norm[name], curve, rtol=1e-5)


def test_an_exact_zero_is_minus_infinity_and_nan_stays_nan():
    assert log_norm(jnp.zeros((3, 2)), jnp.zeros(3)).tolist() == [-np.inf] * 3
    assert np.isnan(log_norm(jnp.full((1, 2), jnp.nan), jnp.zeros(1)))[0]


def test_sharing_a_scale_keeps_the_numbers():
    small, large = Scaled(jnp.array([[3e-20]]), jnp.array([-400.0])), Scaled(jnp.array([[2.0]]), jnp.array([-390.0]))
    nothing = Scaled(jnp.zeros((1, 1)), jnp.array([500.0]))
    (a, b, zero), log = share_scale(small, large, nothing)
    np.testing.assert_allclose(log + jnp.log(b[0]), jnp.log(2.0) - 390, rtol=1e-6)
    np.testing.assert_allclose(a[0] / b[0], 1.5e-20 * np.exp(-10), rtol=1e-5)
    assert zero.tolist() == [[0.0]]


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda params, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    carries = jnp.zeros((2, 1, 1), jnp.int32)
    ys_bar = Scaled(jnp.ones((2, 1, 1)), jnp.zeros((2, 1)))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        backward(Direction(counting, (), False), carries, jnp.zeros((2, 1, 1)), ys_bar)


def test_a_users_own_step_function(float64):
    """h_t = a tanh(h_{t-1}) + x_t, against differentiating each carry in turn, with padding, reversed."""

    def step(a, h, x):
        h = {"h": a * jnp.tanh(h["h"]) + x}
        return h, h["h"]

    def from_step(t, b, h, order):
        """The loss as a function of the carry that enters step t of sequence b."""
        total = 0.0
        for s in order[order.index(t) :]:
            h = step(0.7, h, xs[s, b])[0]
            total += jnp.sum(weights[s, b] * h["h"] ** 2)
        return total

    xs, weights, lengths = noise(0, 4, 2, 3), noise(1, 4, 2, 3), [4, 2]
    start, loss = {"h": noise(2, 2, 3)}, lambda ys: jnp.sum(weights * ys**2)
    for reverse in (False, True):
        run = jax.jit(lambda h, r=reverse: adjoints(step, 0.7, h, xs, loss, jnp.array(lengths), reverse=r))
        delta = run(start)
        found = delta.value["h"] * jnp.exp(delta.log)[..., None]
        for b in range(2):
            order, h = list(range(lengths[b]))[:: -1 if reverse else 1], {"h": start["h"][b]}
            for t in order:
                wanted = jax.grad(lambda h, t=t, b=b, o=order: from_step(t, b, h, o))(h)["h"]
                np.testing.assert_allclose(found[t, b], wanted, rtol=1e-12)
                norm = jnp.log10(jnp.linalg.norm(wanted))
                np.testing.assert_allclose(log10_norms(delta)["h"][t, b], norm, rtol=1e-12)
                h = step(0.7, h, xs[t, b])[0]
        assert np.all(np.asarray(found[2:, 1]) == 0)
    alone = adjoints(step, 0.7, {"h": start["h"][0]}, xs[:, 0], lambda ys: jnp.sum(weights[:, 0] * ys**2))
    assert alone.log.shape == (4,)


def test_a_loss_that_depends_on_no_step_is_refused():
    step = lambda params, carry, x: (carry + x, carry)  # noqa: E731
    with pytest.raises(UserError, match="depends on no step"):
        adjoints(step, (), jnp.zeros((1, 2)), jnp.zeros((3, 1, 2)), lambda ys: jnp.ones(()))

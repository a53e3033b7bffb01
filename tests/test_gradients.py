"""Adjoints and norms: against the zero nudge, explicit Jacobian products, closed forms, and underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, random_params, shaped

from seqjax import Cell, Task, UserError, cells, spec, tasks, unroll, zero_nudge
from seqjax.gradients import adjoints, backward, gradient_norms, log10_norms, model_adjoints
from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.gradients.states import flat, flat_step
from seqjax.models import sequence_model
from seqjax.types import Batch, Direction
from seqjax.unroll import recording


def make(cell, task, **options):
    task = spec.build(task, [tasks], Task)
    cell = spec.build(cell, [cells], Cell)
    model = sequence_model(cell, task.input_size, task.output_size, readout=task.readout, tokens=task.tokens, **options)
    return task, cell, model


def drawn(task, model, batch):
    """Parameters and a batch."""
    return shaped(model.init, 0.5), jax.tree.map(np.asarray, task.sample(jax.random.key(0), batch))


def plain(scaled):
    return jax.tree.map(lambda leaf: leaf * np.exp(scaled.log)[..., None], scaled.value)


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
        params, batch = drawn(task, model, 4)
        xs = np.zeros((*batch.inputs.shape[:2], 1))

        @jax.jit
        def both(params):
            nudge = jax.tree.map(
                lambda way: zero_nudge(cell, way.params, xs),
                model.layers(params),
                is_leaf=lambda node: isinstance(node, Direction),
            )

            def loss(nudge):
                return 4 * task.loss(model.apply(params, batch.inputs, batch.lengths, nudge=nudge)[0], batch)

            return jax.grad(loss)(nudge), model_adjoints(model, params, batch, task.loss)

        wanted, found = jax.tree.map(np.asarray, both(params))
        found = jax.tree.map(plain, found, is_leaf=lambda node: isinstance(node, Scaled))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-15), found, wanted)


@pytest.mark.parametrize("lengths", [None, [5, 2]])
def test_against_products_of_jacobians(lengths):
    """The Jacobians of an LSTM do not commute: their product in the wrong order is another number."""
    with jax.enable_x64(True):
        cell = spec.build("lstm(hidden=2)", [cells], Cell)
        params, xs, weights = random_params(cell), noise(1, 5, 2, 3), noise(2, 5, 2, 2)  # L = Σ weights · y
        lengths = None if lengths is None else np.array(lengths)

        @jax.jit
        def run(params, xs):
            _, (carries, _) = unroll(recording(cell), params, xs, lengths=lengths)
            found = backward(Direction(cell, params, False), carries, xs, Scaled(weights, jnp.zeros((5, 2))), lengths)
            slopes = jax.vmap(jax.vmap(jax.jacobian(flat_step(cell, params))))(flat(carries), xs)
            return flat(found[0].value), found[0].log, slopes

        values, log, (jacobians, outputs) = jax.tree.map(np.asarray, run(params, xs))
        found = values * np.exp(log)[..., None]
        for b in range(2):
            steps = 5 if lengths is None else lengths[b]
            delta = np.zeros(4)
            np.testing.assert_array_equal(found[steps:, b], 0)
            for t in reversed(range(steps)):
                delta = jacobians[t, b].T @ delta + outputs[t, b].T @ weights[t, b]
                np.testing.assert_allclose(found[t, b], delta, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 1000])
def test_a_linear_cell_has_a_closed_form_far_below_float32(length):
    """δ_t = (W_hᵀ)^(T-t) ∂L/∂h_T, and W_h is ρ times a rotation: the norm falls by ρ a step."""
    task, _, model = make(
        "rnn(hidden=8, activation='identity', recurrent_scale=0.3)", f"adding(length={max(length, 2)})"
    )
    params, batch = model.init(jax.random.key(1)), drawn(task, model, 16)[1]
    batch = batch._replace(inputs=batch.inputs[:length])
    norms = jax.jit(lambda params: gradient_norms(model, params, batch, task.loss))(params)
    curve = np.asarray(norms.log10_norm["layer_0/h"])
    assert curve.dtype == jnp.float32
    np.testing.assert_allclose(curve - curve[-1], np.arange(1 - length, 1) * -np.log10(0.3), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(norms.first_to_last, (length - 1) * np.log10(0.3), rtol=1e-5, atol=1e-4)


def test_norms_are_means_over_the_sequences_that_have_the_step():
    with jax.enable_x64(True):
        task, _, model = make("gru(hidden=4)", "parity(length=9, min_length=3)")
        params, batch = drawn(task, model, 6)
        ways = model_adjoints, gradient_norms
        ((delta,),), found = jax.jit(lambda params: [way(model, params, batch, task.loss) for way in ways])(params)
        norms, lengths = np.linalg.norm(plain(delta).h, axis=-1), batch.lengths
        wanted = [np.log10(np.mean(norms[t, lengths > t])) for t in range(9) if (lengths > t).any()]
        np.testing.assert_allclose(found.log10_norm["carry"][: len(wanted)], wanted, rtol=1e-10)
        np.testing.assert_allclose(
            found.first_to_last, np.log10(norms[0].mean() / norms[lengths - 1, np.arange(6)].mean()), rtol=1e-10
        )


def test_padding_and_batch_size_change_nothing():
    task, _, model = make("lstm(hidden=4)", "parity(length=6)")
    params, batch = drawn(task, model, 3)
    norms = jax.jit(lambda batch: gradient_norms(model, params, batch, task.loss).log10_norm)
    padded = Batch(np.concatenate([batch.inputs, np.ones((4, 3), np.int32)]), batch.targets, batch.mask, np.full(3, 6))
    twice = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf], -1), batch)
    short, padded, twice = (jax.tree.map(np.asarray, norms(each)) for each in (batch, padded, twice))
    for name, curve in short.items():
        np.testing.assert_allclose(padded[name][:6], curve, rtol=1e-5)
        assert np.all(np.isnan(padded[name][6:]))
        np.testing.assert_allclose(twice[name], curve, rtol=1e-5)


def test_an_exact_zero_is_minus_infinity_and_nan_stays_nan():
    found = jax.jit(log_norm)(np.array([[0, 0], [0, 0], [0, np.nan]], np.float32), np.zeros(3, np.float32))
    np.testing.assert_array_equal(found, [-np.inf, -np.inf, np.nan])


def test_sharing_a_scale_keeps_the_numbers():
    small, large = Scaled(np.array([[3e-20]]), np.array([-400.0])), Scaled(np.array([[2.0]]), np.array([-390.0]))
    nothing = Scaled(np.zeros((1, 1)), np.array([500.0]))
    (a, b, zero), log = jax.tree.map(np.asarray, jax.jit(share_scale)(small, large, nothing))
    np.testing.assert_allclose(log + np.log(b[0]), np.log(2.0) - 390, rtol=1e-6)
    np.testing.assert_allclose(a[0] / b[0], 1.5e-20 * np.exp(-10), rtol=1e-5)
    assert zero.tolist() == [[0.0]]


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda params, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    carries = np.zeros((2, 1, 1), np.int32)
    ys_bar = Scaled(np.ones((2, 1, 1)), np.zeros((2, 1)))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        backward(Direction(counting, (), False), carries, np.zeros((2, 1, 1)), ys_bar)


def test_a_users_own_step_function(float64):
    """h_t = a tanh(h_{t-1}) + x_t, against differentiating each carry in turn, with padding, reversed."""

    def step(a, h, x):
        h = {"h": a * jnp.tanh(h["h"]) + x}
        return h, h["h"]

    def by_hand(b, h, order):
        """What h enters each step with, and the gradient with respect to it: L = Σ weights · h², h' = a tanh(h) + x."""
        entering = []
        for t in order:
            entering.append(h)
            h = 0.7 * np.tanh(h) + xs[t, b]
        delta = np.zeros(3)
        for t, before in zip(reversed(order), reversed(entering)):
            after = 0.7 * np.tanh(before) + xs[t, b]
            delta = 0.7 * (1 - np.tanh(before) ** 2) * (delta + 2 * weights[t, b] * after)
            yield t, delta

    xs, weights, lengths = noise(0, 4, 2, 3), noise(1, 4, 2, 3), [4, 2]
    start, loss = {"h": noise(2, 2, 3)}, lambda ys: jnp.sum(weights * ys**2)
    for reverse in (False, True):

        @jax.jit
        def run(h, reverse=reverse):
            delta = adjoints(step, 0.7, h, xs, loss, np.array(lengths), reverse=reverse)
            return delta, log10_norms(delta)["h"]

        delta, norms = jax.tree.map(np.asarray, run(start))
        found = plain(delta)["h"]
        for b in range(2):
            for t, wanted in by_hand(b, start["h"][b], range(lengths[b])[:: -1 if reverse else 1]):
                np.testing.assert_allclose(found[t, b], wanted, rtol=1e-12)
                np.testing.assert_allclose(norms[t, b], np.log10(np.linalg.norm(wanted)), rtol=1e-12)
        assert np.all(found[2:, 1] == 0)
    of_one = lambda ys: jnp.sum(weights[:, 0] * ys**2)  # noqa: E731
    alone = jax.eval_shape(lambda h: adjoints(step, 0.7, h, xs[:, 0], of_one), {"h": start["h"][0]})
    assert alone.log.shape == (4,)


def test_a_loss_that_depends_on_no_step_is_refused():
    step = lambda params, carry, x: (carry + x, carry)  # noqa: E731
    with pytest.raises(UserError, match="depends on no step"):
        adjoints(step, (), np.zeros((1, 2)), np.zeros((3, 1, 2)), lambda ys: jnp.ones(()))


@pytest.mark.parametrize(
    ("carry", "says"),
    [
        ({"h": np.zeros((3, 2)), "n": 0.0}, r"component \['n'\] is of shape \[\]; expected \[3\], the axes of xs"),
        (np.zeros(2), r"the carry is of shape \[2\]; expected \[3\]"),
        ((np.zeros((2, 2)),), r"component \[0\] is of shape \[2, 2\]; expected \[3\]"),
    ],
)
def test_a_carry_without_the_axes_of_the_batch_is_refused(carry, says):
    """As a counter of steps is, of which there is one and not one a sequence."""
    with pytest.raises(UserError, match=says):
        adjoints(lambda params, carry, x: (carry, x), (), carry, np.zeros((4, 3, 1)), jnp.sum)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (lambda params, carry, x: (x, carry), r"the step gives a carry of the form .*; expected .*'h'"),
        (lambda params, carry, x: carry, "expected two, \\(carry, y\\)"),
        (lambda params, carry, x: ({"h": carry["h"].T}, x), r"component \['h'\] \[2, 3\] of \[3, 2\]"),
    ],
)
def test_a_step_that_gives_another_carry_is_refused(step, says):
    """As one does that gives its output first, in the order of Haiku."""
    with pytest.raises(UserError, match=says):
        adjoints(step, (), {"h": np.zeros((3, 2))}, np.zeros((4, 3, 2)), jnp.sum)


def test_lengths_may_be_a_list():
    step = lambda params, carry, x: (0.5 * carry + x, carry)  # noqa: E731
    find = lambda: adjoints(step, (), np.zeros((2, 1)), np.ones((3, 2, 1)), jnp.sum, lengths=[3, 1])  # noqa: E731
    assert jax.eval_shape(find).log.shape == (3, 2)

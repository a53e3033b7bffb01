"""What the laboratory writes of a whole batch: means over its sequences, and horizons, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, shaped

from seqjax import Cell, cells, spec
from seqjax.cells.rnn import rnn
from seqjax.gradients.flow import QUANTITIES, flow
from seqjax.models import sequence_model
from seqjax.types import Batch, Direction, Model
from seqjax.unroll import unroll

D, H = 3, 2


def measured(cell, params, xs, lengths, quantity):
    model = Model(None, None, lambda params, inputs: inputs, lambda params: ((Direction(cell, params, False),),), None)
    batch = Batch(xs, None, None, lengths)
    found = jax.jit(lambda params: flow(model, params, batch, None, (quantity,))[quantity])(params)
    return jax.tree.map(np.asarray, found)


def test_the_spectrum_is_the_mean_over_the_sequences_that_are_long_enough(float64):
    """log10 of the singular values, and the effective rank, of products of a tanh RNN's Jacobians in NumPy."""
    cell, xs, lengths = rnn(H), noise(1, 5, 3, D), np.array([5, 4, 2])
    params = shaped(lambda key: cell.init(key, D), 0.7)
    found = measured(cell, params, xs, lengths, "spectrum")
    logs, ranks = {1: [], 4: [], 5: []}, {1: [], 4: [], 5: []}
    for b, length in enumerate(lengths):
        h, jacobians = np.zeros(H), []
        for x in xs[:length, b]:
            h = np.tanh(x @ params.w_x + h @ params.w_h + params.b)
            jacobians.append((1 - h**2)[:, None] * params.w_h.T)
        product = np.eye(H)
        for lag, jacobian in enumerate(reversed(jacobians), 1):
            product = product @ jacobian
            if lag in logs:
                values = np.linalg.svd(product, compute_uv=False)
                share = values / values.sum()
                logs[lag].append(np.log10(values))
                ranks[lag].append(np.exp(-np.sum(share * np.log(share))))
    assert [len(each) for each in logs.values()] == [3, 2, 1]
    np.testing.assert_array_equal(found["lags"], list(logs))
    np.testing.assert_allclose(found["log10_singular_values"], [np.mean(each, 0) for each in logs.values()], rtol=1e-8)
    np.testing.assert_allclose(found["effective_rank"], [np.mean(each) for each in ranks.values()], rtol=1e-8)


def test_the_horizons_are_those_of_the_sensitivity(float64):
    """W_h = I / 2 and no activation: ‖∂h_T/∂x_t‖ = 2^(t-T) ‖W_x‖, which falls by a factor a within log2 a steps."""
    cell, xs = rnn(H, activation="identity"), noise(1, 9, 2, D)
    params = shaped(lambda key: cell.init(key, D), 0.7)._replace(w_h=np.eye(H) / 2)
    found = measured(cell, params, xs, None, "sensitivity")
    wanted = np.log10(np.linalg.norm(params.w_x)) - np.arange(9) * np.log10(2)
    np.testing.assert_allclose(found["log10_by_lag"], wanted, rtol=1e-10)
    np.testing.assert_allclose([found["fall_e"], found["fall_100"]], [math.log2(math.e), math.log2(100)], rtol=1e-10)


@pytest.mark.parametrize(
    ("form", "gate", "bias"),
    [
        ("lstm(hidden=2)", "forget_gate", math.log(9)),
        ("gru(hidden=2)", "update_gate", math.log(9)),
        ("lem(hidden=2)", "z_gate", -math.log(9)),
        ("mgu(hidden=2)", "forget_gate", -math.log(9)),
        ("min_gru(hidden=2)", "update_gate", -math.log(9)),
        ("mut1(hidden=2)", "update_gate", -math.log(9)),
    ],
)
def test_what_a_gate_keeps_is_told_whichever_way_it_opens(form, gate, bias):
    """With .9 of the state kept at every step, and .1 of it new, a cell forgets in 10 steps."""
    cell = spec.build(form, [cells], Cell)
    params = shaped(lambda key: cell.init(key, D), 0.0)
    found = measured(cell, params._replace(b=params.b + bias), noise(1, 3, 2, D), None, "gates")
    np.testing.assert_allclose(found[f"{gate}/horizon"], 10, rtol=1e-5)


def test_exponents_are_told_for_as_long_as_there_is_a_sequence():
    cell = rnn(H)
    params = shaped(lambda key: cell.init(key, D), 0.7)
    found = measured(cell, params, noise(1, 5, 3, D), np.array([3, 2, 1]), "lyapunov")["running"]
    assert np.isfinite(found[:3]).all() and np.isnan(found[3:]).all()


def test_an_output_narrower_than_the_carry_has_a_sensitivity():
    step = lambda w, h, x: (0.5 * h + x @ w, h[..., :1] + x[..., :1])  # noqa: E731
    cell = Cell(None, lambda w, shape: np.zeros((*shape, 5)), step)
    found = measured(cell, np.ones((D, 5), np.float32), noise(1, 4, 2, D), None, "sensitivity")
    wanted = [1, *(3**0.5 * 0.5**lag for lag in range(3))]
    np.testing.assert_allclose(10 ** found["log10_by_lag"], wanted, rtol=1e-5)


def test_a_cell_without_parameters_has_all_but_what_is_of_their_gradient():
    cell = Cell(lambda key, size: (), lambda _, shape: jnp.zeros((*shape, D)), lambda _, h, x: (h / 2 + x, h))
    model = sequence_model(cell, D, 1)
    batch = Batch(np.ones((4, 2, D)), np.ones((4, 2, 1)), np.ones((4, 2)))
    loss = lambda outputs, batch: jnp.mean((outputs - batch.targets) ** 2)  # noqa: E731
    found = jax.eval_shape(lambda key: flow(model, model.init(key), batch, loss), jax.random.key(0))
    assert set(found) == {*QUANTITIES} - {"lag", "truncation", "gates"}


def test_an_upper_layer_is_measured_on_what_the_lower_ones_give(float64):
    """Layer 1 of a stack is layer 0 of a model that is given the lower layer's outputs, of both directions."""
    xs, lengths = noise(1, 6, 3, D), np.array([6, 4, 2])
    whole = sequence_model(rnn(H), D, 1, layers=2, bidirectional=True)
    params = shaped(whole.init, 0.7)
    (forward, backward), _ = whole.layers(params)
    runs = [unroll(way.cell, way.params, xs, lengths=lengths, reverse=way.reverse)[1] for way in (forward, backward)]
    upper = whole._replace(layers=lambda params: whole.layers(params)[1:], encode=lambda params, inputs: inputs)
    loss = lambda outputs, batch: jnp.mean(jnp.sum(batch.mask * outputs[..., 0], 0))  # noqa: E731
    mask = (np.arange(6)[:, None] < lengths).astype(float)
    found, wanted = (
        flow(model, params, Batch(inputs, None, mask, lengths), loss, only, layer=layer)
        for only in [[each for each in QUANTITIES if each != "truncation"]]
        for model, inputs, layer in ((whole, xs, 1), (upper, np.concatenate(runs, -1), 0))
    )
    assert set(found) == {"spectrum", "lyapunov", "lag", "sensitivity", "noise", "curse"}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), found, wanted)


def test_a_sequence_that_is_lost_is_not_left_out_of_the_spectrum():
    """A mean over the others would show a network that has diverged as one that is well."""
    cell, xs = rnn(H), noise(1, 4, 2, D, dtype=np.float32)
    xs[0, 0] = np.nan
    found = measured(cell, shaped(lambda key: cell.init(key, D), 0.7), xs, np.array([4, 1]), "spectrum")
    assert np.isnan(found["log10_singular_values"]).all() and np.isnan(found["effective_rank"]).all()

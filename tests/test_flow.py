"""What the laboratory writes of a whole batch: means over its sequences, and horizons, by hand."""

import math

import jax
import numpy as np
from contract import noise, shaped

from seqjax.cells.rnn import rnn
from seqjax.gradients.flow import flow
from seqjax.types import Batch, Direction, Model

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

"""Input sensitivity: against explicit Jacobian products and closed forms; and the horizons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.gradients.lag import by_lag, mean_log10
from seqjax.gradients.sensitivity import horizons, input_sensitivity, memory_horizon
from seqjax.models import sequence_model
from seqjax.types import Direction


def make(form, length=5, reverse=False):
    cell = spec.build(form, [cells], Cell)
    return Direction(cell, cell.init(jax.random.key(0), 3), reverse), jax.random.normal(
        jax.random.key(1), (length, 2, 3)
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 2], [1, 5]])
def test_against_dense_jacobians(float64, lengths, reverse):
    way, xs = make("lstm(hidden=3)", reverse=reverse)
    lengths = None if lengths is None else jnp.array(lengths)
    found = jax.jit(lambda xs: input_sensitivity(way, xs, lengths))(xs)
    last = [0, 0] if reverse else [4, 4] if lengths is None else list(np.asarray(lengths) - 1)

    def answer(xs):
        ys = unroll(way.cell, way.params, xs, lengths=lengths, reverse=reverse)[1]
        return jnp.stack([ys[last[b], b] for b in range(2)])

    dense = jax.jit(jax.jacobian(answer))(xs)  # [B, H, T, B, D]
    for b in range(2):
        norms = np.linalg.norm(np.moveaxis(dense[b, :, :, b], 1, 0).reshape(5, -1), axis=-1)
        np.testing.assert_allclose(10 ** found[:, b], norms, rtol=1e-11)
        assert np.all((np.asarray(found[:, b]) == -np.inf) == (norms == 0))


def test_against_products_of_jacobians(float64):
    """∂y_T/∂x_t of an LSTM as a product in time's order: in the other order it is another number."""
    way, xs = make("lstm(hidden=2)", length=3)
    step = jax.jit(jax.jacobian(lambda s, x: way.cell.step(way.params, s, x), (0, 1)))
    carry, jacobians = way.cell.initial_carry(way.params, ()), []
    for t in range(3):
        (after, y) = step(carry, xs[t, 0])
        matrix = np.block([[np.asarray(after[0][i][0][j]) for j in (0, 1)] for i in (0, 1)])
        jacobians.append((matrix, np.concatenate([after[0][1], after[1][1]]), y[0], y[1]))
        carry = way.cell.step(way.params, carry, xs[t, 0])[0]
    output = np.concatenate([jacobians[2][2][0], jacobians[2][2][1]], -1)
    right = output @ jacobians[1][0] @ jacobians[0][1]
    found = input_sensitivity(way, xs[:, :1])
    np.testing.assert_allclose(10 ** found[0, 0], np.linalg.norm(right), rtol=1e-11)

"""The nudges of `unroll`: their gradients are the adjoints of the carry, by products of Jacobians and by a push."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise, random_carry, random_params, slopes_are_differences
from jax.flatten_util import ravel_pytree
from test_unroll import EPS, LSTM, B, D, H, drawn, jitted, take

from seqjax import unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.rnn import RNNParams, rnn
from seqjax.unroll import recording


def explicit_adjoints(slopes, by_output, by_end):
    """Σ_k (∂y_k/∂s_k · J_{k-1} ... J_t)ᵀ ∂L/∂y_k + (J_{T-1} ... J_t)ᵀ ∂L/∂s_T for every t, product by product.

    Args:
        slopes: pairs (J_t [S, S], ∂y_t/∂s_t [H, S]), s_t being the carry that enters step t.
        by_output: ∂L/∂y [T, H].
        by_end: ∂L/∂s_T [S], s_T being the carry that leaves the last step.
    """
    rows = []
    for t in range(len(slopes)):
        product, total = np.eye(by_end.size), np.zeros(by_end.size)
        for (of_state, of_output), slope in zip(slopes[t:], by_output[t:]):
            total = total + (of_output @ product).T @ slope
            product = of_state @ product
        rows.append(total + product.T @ by_end)
    return np.stack(rows)


@pytest.mark.parametrize("cell", [LSTM, gru(H), rnn(H)], ids=["lstm", "gru", "rnn"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_nudge_is_the_product_of_jacobians(cell, reverse, float64):
    """Dense matrices that do not commute; padded sequences, each with products over its own steps."""
    steps, lengths = 6, np.array([6, 1, 4])
    params, xs = drawn(cell, steps, jnp.float64)
    start, v = random_carry(cell, params, B), np.asarray(noise(7, steps, B, H))
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], start))[1]
    flat = jax.vmap(jax.vmap(lambda carry: ravel_pytree(carry)[0]))  # [T, B, ...] -> [T, B, S]

    def flat_step(s, x):
        after, y = cell.step(params, unravel(s), x)
        return ravel_pytree(after)[0], y

    @jax.jit
    def probe(weight, by_end):
        """What entered each step, its Jacobians, the outputs, and the gradient of the nudge."""

        def loss(nudge):
            carry, ys = unroll(cell, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge)
            return jnp.sum(weight[..., None] * v * jnp.tanh(ys)) + by_end * jnp.sum(carry.h * v[0])

        _, (entering, ys) = unroll(recording(cell), params, xs, start, lengths=lengths, reverse=reverse)
        slopes = jax.vmap(jax.vmap(jax.jacobian(flat_step)))(flat(entering), xs)
        return slopes, ys, flat(jax.grad(loss)(zero_nudge(cell, params, xs)))

    last = np.zeros((steps, B))
    last[np.zeros(B, int) if reverse else lengths - 1, np.arange(B)] = 1
    for weight, by_end in [(last, 0.0), (np.ones((steps, B)), 0.0), (np.zeros((steps, B)), 1.0)]:
        (of_state, of_output), ys, found = jax.tree.map(np.asarray, probe(weight, by_end))
        by_output = weight[..., None] * v * (1 - np.tanh(ys) ** 2)
        for b, length in enumerate(lengths):
            order = list(range(length))[:: -1 if reverse else 1]
            by_final = np.zeros(found.shape[-1])
            by_final[:H] = by_end * v[0, b]  # h is the first part of every carry here
            slopes = [(of_state[t, b], of_output[t, b]) for t in order]
            expected = explicit_adjoints(slopes, [by_output[t, b] for t in order], by_final)
            np.testing.assert_allclose(found[order, b], expected, rtol=1e-10, atol=1e-14)
            assert not found[length:, b].any()


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_the_nudge_of_a_linear_cell_is_a_matrix_power(steps, float64):
    """h_t = x W_x + h_{t-1} W_h + b: dL/dh_{t-1} = W_h^(n-t) v for L = v · y_{n-1}, n steps long."""
    cell, draw = rnn(H, activation="identity"), np.random.default_rng(0).normal
    w_h = draw(size=(H, H)) / 2
    params = RNNParams(draw(size=(D, H)), w_h, draw(size=H))
    xs, v = draw(size=(steps, B, D)), draw(size=H)
    lengths = np.array([steps, 1, (steps + 1) // 2])

    def loss(nudge, every):
        _, ys = unroll(cell, params, xs, lengths=lengths, nudge=nudge)
        return jnp.sum(jnp.where(every, jnp.sum(ys @ v, 0), ys[lengths - 1, np.arange(B)] @ v))

    slopes = jax.jit(jax.grad(loss))
    for every in (False, True):
        found = np.asarray(slopes(zero_nudge(cell, params, xs), every).h)
        for b, n in enumerate(lengths):
            for t in range(steps):
                powers = range(1, n - t + 1) if every else range(n - t, n - t + 1) if t < n else []
                expected = sum((np.linalg.matrix_power(w_h, k) @ v for k in powers), np.zeros(H))
                np.testing.assert_allclose(found[t, b], expected, rtol=1e-10, atol=1e-14)


def test_the_first_nudge_is_the_initial_carry(float64):
    params, xs = drawn(LSTM, 5, jnp.float64)
    start = random_carry(LSTM, params, B)

    def loss(nudge, start):
        return jnp.sum(unroll(LSTM, params, xs, start, nudge=nudge)[1] ** 2)

    by_nudge, by_start = jax.jit(jax.grad(loss, (0, 1)))(zero_nudge(LSTM, params, xs), start)
    close(take(by_nudge, 0), by_start)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_nudge_moves_the_carry_that_enters(reverse):
    """A push of step t alone does what a changed carry at the start of the rest does."""
    params, xs = drawn(LSTM, 6)
    push = random_carry(LSTM, params, B)
    nudge = jax.tree.map(lambda leaf: leaf * (np.arange(6) == 2)[:, None, None].astype(leaf.dtype), push)
    carry, ys = jitted(LSTM, params, xs, nudge=nudge, reverse=reverse)
    before, rest = (xs[3:], xs[:3]) if reverse else (xs[:2], xs[2:])
    middle, first = jitted(LSTM, params, before, reverse=reverse)
    end, second = jitted(LSTM, params, rest, jax.tree.map(np.add, middle, push), reverse=reverse)
    close((carry, ys), (end, np.concatenate([second, first] if reverse else [first, second])), EPS[jnp.float32])


def test_second_order(float64):
    """The gradient of a gradient, as one who trains on adjoints needs it."""
    cell = rnn(2)
    params, xs, lengths = random_params(cell, jnp.float64, D), noise(1, 3, 2, D), np.array([3, 2])

    def loss(params, xs, nudge):
        return jnp.sum(jnp.sin(unroll(cell, params, xs, lengths=lengths, nudge=nudge)[1]))

    slopes = jax.value_and_grad(loss, (0, 1, 2))
    slopes_are_differences(slopes, params, xs, zero_nudge(cell, params, xs), forward=False)


def test_zero_nudge_has_the_form_of_the_carry_at_every_step():
    params, xs = drawn(LSTM, 4, jnp.bfloat16)
    zeros, carry = zero_nudge(LSTM, params, xs), LSTM.initial_carry(params, (B,))
    assert jax.tree.structure(zeros) == jax.tree.structure(carry)
    assert all(leaf.shape == (4, B, H) and leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(zeros))

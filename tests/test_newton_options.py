"""Newton iterations: the damped step against a loop, and the residual that counts as converged."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_newton import H, drawn, solve

from seqjax import Cell
from seqjax.cells.rnn import rnn


def residual_by_loop(params, xs, start, jacobian, damping, iterations):
    """After so many iterations of a tanh RNN in NumPy, from s_t = f(0, x_t) on."""
    entering = lambda states: np.concatenate([start[None], states[:-1]])  # noqa: E731
    advance = lambda before: np.tanh(xs @ params.w_x + before @ params.w_h + params.b)  # noqa: E731
    states = advance(entering(np.zeros((*xs.shape[:-1], H))))
    for _ in range(iterations):
        after, delta = advance(entering(states)), np.zeros_like(start)
        for t, gap in enumerate(after - states):
            slopes = (1 - after[t] ** 2)[..., None] * params.w_h.T * (np.eye(H) if jacobian == "diagonal" else 1)
            delta = (1 - damping) * (slopes @ delta[..., None])[..., 0] + gap
            states[t] += delta
    return np.max(np.abs(advance(entering(states)) - states) / (1 + np.abs(states)))


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
@pytest.mark.parametrize("damping, iterations", [(0.0, 1), (0.5, 1), (0.5, 2)])
def test_a_damped_step_takes_a_share_of_the_jacobians(jacobian, damping, iterations, float64):
    params, xs, start, _ = drawn(rnn(H), 6)
    found = solve(rnn(H), params, xs, start, jacobian=jacobian, damping=damping, max_iterations=iterations)
    wanted = residual_by_loop(params, xs, start.h, jacobian, damping, iterations)
    assert int(found.iterations) == iterations
    np.testing.assert_allclose(found.residual, wanted, rtol=1e-10)


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float64, 3e-13), (jnp.float32, 3e-6), (jnp.bfloat16, 2e-2)])
def test_the_residual_that_counts_as_converged(dtype, tolerance, float64):
    """Of h_t = w h_{t-1} + x_t with x = 1, 0 the first residual is w."""
    cell = Cell(
        lambda key, size: (), lambda w, shape: jnp.zeros((*shape, 1), w.dtype), lambda w, h, x: 2 * (w * h + x,)
    )
    for share, converged in ((0.8, True), (1.2, False)):
        w = jnp.asarray(share * tolerance, dtype)
        found = solve(cell, w, jnp.array([[1.0], [0.0]], dtype), max_iterations=0)
        assert float(found.residual) == float(w) and bool(found.converged) is converged

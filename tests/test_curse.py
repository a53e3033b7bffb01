"""Sensitivities to parameters: against jax.jacobian of the whole run, a closed form and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.rnn import RNNParams
from seqjax.gradients.curse import SENSITIVITY_LIMIT, scalar_recurrence, sensitivities
from seqjax.gradients.norms import components
from seqjax.types import Direction
from seqjax.unroll import recording


def tape(cell, xs, lengths=None, reverse=False, params=None):
    cell = spec.build(cell, [cells], Cell)

    @jax.jit
    def run(params, xs):
        params = cell.init(jax.random.key(0), xs.shape[-1]) if params is None else params
        return params, unroll(recording(cell), params, xs, lengths=lengths, reverse=reverse)[1][0]

    params, carries = run(params, xs)
    return Direction(cell, params, reverse), carries, xs


@pytest.mark.parametrize("cell, reverse", [("lstm(hidden=2, peepholes=True)", False), ("gru(hidden=2)", True)])
def test_against_the_jacobian_of_the_whole_run(float64, cell, reverse):
    xs, lengths = np.random.default_rng(1).normal(size=(5, 3, 2)), np.array([5, 1, 2])
    way, carries, _ = tape(cell, xs, lengths, reverse)
    found = jax.jit(lambda c: sensitivities(way, c, xs, lengths))(carries)

    def after(params):
        """The states that each step leaves [T, B, H], in the places of their inputs."""
        last, (entering, _) = unroll(recording(way.cell), params, xs, lengths=lengths, reverse=reverse)
        steps = jnp.arange(5)[:, None]
        final = (steps == 0 if reverse else steps == lengths - 1)[..., None]
        shift = lambda e, s: jnp.where(final, s, jnp.roll(e, 1 if reverse else -1, 0))  # noqa: E731
        return components(jax.tree.map(shift, entering, last))

    def mean_square(values, t):
        return np.mean([np.sum(values[t, b] ** 2) for b in range(3) if t < lengths[b]])

    states, jacobians = jax.tree.map(np.asarray, jax.jit(lambda p: (after(p), jax.jacobian(after)(p)))(way.params))
    parts = {part: components(of) for part, of in jacobians.items()}
    named = {f"{part}/{name}": values for part, of in parts.items() for name, values in of.items()}
    assert set(found.parameters) == set(named) and set(found.states) == set(states)
    with np.errstate(divide="ignore"):  # h_1 does not depend on W_h
        for t in range(5):
            for name, values in states.items():
                np.testing.assert_allclose(found.states[name][t], np.log10(mean_square(values, t)), rtol=1e-10)
            for name, values in named.items():
                np.testing.assert_allclose(found.parameters[name][t], np.log10(mean_square(values, t)), rtol=1e-9)
    only = jax.jit(lambda c: sensitivities(way, c, xs, lengths, leaves=["w_h"]))(carries)
    assert set(only.parameters) == {f"{c}/w_h" for c in parts}
    np.testing.assert_allclose(only.parameters["h/w_h"], found.parameters["h/w_h"], rtol=1e-12)


@pytest.mark.parametrize("decay", [0.3, 0.9, -0.99])
def test_finite_times_are_the_closed_form(float64, decay):
    t, q = np.arange(1.0, 60), decay**2
    variance, sensitivity = scalar_recurrence(decay, 59)
    np.testing.assert_allclose(variance, (1 - q**t) / (1 - q), rtol=1e-12)
    wanted = (1 + q - q ** (t - 1) * (t**2 - (2 * t**2 - 2 * t - 1) * q + (t - 1) ** 2 * q**2)) / (1 - q) ** 3
    np.testing.assert_allclose(sensitivity, wanted, rtol=1e-9, atol=1e-9)


def test_the_limit_and_one(float64):
    for decay in (0.0, 0.5, 0.95):
        finite, limit = scalar_recurrence(decay, 3000), scalar_recurrence(decay)
        np.testing.assert_allclose([part[-1] for part in finite], limit, rtol=1e-12)
    np.testing.assert_allclose(scalar_recurrence(0.9), [1 / 0.19, 1.81 / 0.19**3], rtol=1e-12)
    variance, sensitivity = scalar_recurrence(1.0, 4)
    assert variance.tolist() == [1, 2, 3, 4] and sensitivity.tolist() == [0, 1, 5, 14]
    assert np.all(np.isinf(scalar_recurrence(jnp.array([1.0, -1.0, 1.5]))))
    assert scalar_recurrence(jnp.array([0.1, 0.2]), 1)[1].tolist() == [[0, 0]]
    with pytest.raises(UserError, match="steps=0; expected at least 1"):
        scalar_recurrence(0.5, 0)


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_monte_carlo(float64, decay):
    """A cell of one linear unit on white noise: both moments within 4 standard errors, √(2/B) of each."""
    batch, steps = 4000, 60
    params = RNNParams(np.ones((1, 1)), np.full((1, 1), decay), np.zeros(1))
    xs = np.random.default_rng(0).normal(size=(steps, batch, 1))
    way, carries, _ = tape("rnn(hidden=1, activation='identity')", xs, params=params)
    found = jax.jit(lambda c: sensitivities(way, c, xs, leaves=["w_h"]))(carries)
    error = np.sqrt(2 / batch)
    variance, sensitivity = scalar_recurrence(decay, steps)
    np.testing.assert_allclose(10 ** found.states["h"], variance, rtol=4 * error)
    np.testing.assert_allclose(10 ** found.parameters["h/w_h"][1:], sensitivity[1:], rtol=4 * error)
    assert found.parameters["h/w_h"][0] == -np.inf
    assert abs(10 ** found.parameters["h/w_h"][-1] / scalar_recurrence(decay)[1] - 1) < 4 * error


def test_growth_beyond_float32_does_not_overflow():
    """h_t = Σ 2^j, ∂h_t/∂w = Σ j 2^(j-1): after 100 steps its square is beyond 1e60."""
    params = RNNParams(np.ones((1, 1)), np.full((1, 1), 2.0), np.zeros(1))
    way, carries, xs = tape("rnn(hidden=1, activation='identity')", np.ones((100, 1, 1)), params=params)
    found = jax.jit(lambda c: sensitivities(way, c, xs))(carries)
    assert found.parameters["h/w_h"].dtype == jnp.float32
    wanted = sum(j * 2.0 ** (j - 1) for j in range(1, 100))
    np.testing.assert_allclose(found.parameters["h/w_h"][-1], 2 * np.log10(wanted), rtol=1e-6)


def test_a_longer_memory_is_more_sensitive(float64):
    """The curse: with inputs scaled so that E h² stays at 1, the sensitivity still grows without end."""
    limits = [scalar_recurrence(decay) for decay in (0.9, 0.99, 0.999)]
    ratios = [sensitivity / variance for variance, sensitivity in limits]
    assert ratios[0] < ratios[1] / 50 and ratios[1] < ratios[2] / 50


def test_bad_input():
    small = tape("rnn(hidden=2)", np.ones((2, 1, 2)))
    with pytest.raises(UserError, match="no parameter 'w'; parameters: w_x, w_h, b"):
        sensitivities(*small, leaves=["w"])
    with pytest.raises(UserError, match=f"at most {SENSITIVITY_LIMIT} are computed: take a smaller hidden"):
        jax.eval_shape(lambda: sensitivities(*tape("rnn(hidden=128)", np.ones((2, 1, 2)))))
    counting = Cell(lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s, x))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        sensitivities(Direction(counting, (), False), jnp.zeros((2, 1, 1), jnp.int32), jnp.zeros((2, 1, 1)))


def test_parameters_that_are_one_array_are_not_called_a_state():
    leaky = Cell(None, lambda w, shape: jnp.zeros((*shape, 2)), lambda w, h, x: (0.9 * h + x @ w, h))
    way, xs = Direction(leaky, jnp.ones((3, 2)), False), jnp.ones((4, 1, 3))
    found = jax.eval_shape(lambda: sensitivities(way, jnp.zeros((4, 1, 2)), xs, leaves=["params"]))
    assert list(found.parameters) == ["state/params"]


def test_of_no_parameter_there_are_the_states_alone(float64):
    xs = np.random.default_rng(1).normal(size=(5, 3, 2))
    way, carries, _ = tape("rnn(hidden=3)", xs)
    every, none = sensitivities(way, carries, xs), sensitivities(way, carries, xs, leaves=[])
    np.testing.assert_allclose(none.states["h"], every.states["h"], rtol=1e-12)
    assert none.parameters == {} != every.parameters

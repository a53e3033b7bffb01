"""Input sensitivity: against explicit Jacobian products and closed forms; and the memory horizons."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import begin, noise, shaped

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.gradients.gates import gates
from seqjax.gradients.lag import by_lag, mean_log10
from seqjax.gradients.sensitivity import horizons, input_sensitivity, memory_horizon
from seqjax.gradients.states import flat_size, flat_step
from seqjax.models import sequence_model
from seqjax.types import Direction


def make(form, length=5, reverse=False):
    cell = spec.build(form, [cells], Cell)
    return Direction(cell, shaped(lambda key: cell.init(key, 3), 1.0), reverse), noise(1, length, 2, 3)


def linear(rho, length, hidden=4):
    """h_t = h_{t-1} W_h + x_t W_x, W_h being ρ times a rotation: ‖∂h_T/∂x_t‖_F = ρ^(T-t) ‖W_x‖_F."""
    way, xs = make(f"rnn(hidden={hidden}, activation='identity', recurrent_scale={rho})", length)
    return way._replace(params=jax.tree.map(lambda leaf: leaf.astype(xs.dtype), begin(way.cell, 3, 0))), xs


@pytest.mark.parametrize("lengths, reverse", [(None, False), ([5, 2], False), ([1, 5], True)])
def test_against_dense_jacobians(float64, lengths, reverse):
    way, xs = make("lstm(hidden=3)", reverse=reverse)
    lengths = None if lengths is None else np.array(lengths)
    last = [0, 0] if reverse else [4, 4] if lengths is None else [4, 1]

    def answer(xs):
        ys = unroll(way.cell, way.params, xs, lengths=lengths, reverse=reverse)[1]
        return jnp.stack([ys[last[b], b] for b in range(2)])

    both = jax.jit(lambda xs: (input_sensitivity(way, xs, lengths), jax.jacobian(answer)(xs)))
    found, dense = map(np.asarray, both(xs))
    for b in range(2):
        norms = np.linalg.norm(np.moveaxis(dense[b, :, :, b], 1, 0).reshape(5, -1), axis=-1)
        np.testing.assert_allclose(10 ** found[:, b], norms, rtol=1e-11)


def test_against_products_of_jacobians(float64):
    """∂y_2/∂x_0 = C_2 A_1 B_0 of an LSTM, whose Jacobians do not commute: A_1 A_2 differs from A_2 A_1."""
    way, xs = make("lstm(hidden=2)", length=4)

    @jax.jit
    def run(xs):
        step = flat_step(way.cell, way.params)
        both = lambda s, x: (step(s, x)[0], jax.jacobian(step, (0, 1))(s, x))  # noqa: E731
        start = jnp.zeros(flat_size(way.cell, way.params))
        return jax.lax.scan(both, start, xs[:, 0])[1], input_sensitivity(way, xs)

    (to_state, to_output), found = jax.tree.map(np.asarray, run(xs[:, :1]))
    right, wrong = (
        to_output[0][3] @ a @ b @ to_state[1][0]
        for a, b in ((to_state[0][2], to_state[0][1]), (to_state[0][1], to_state[0][2]))
    )
    found = 10 ** found[0, 0]
    np.testing.assert_allclose(found, np.linalg.norm(right), rtol=1e-11)
    assert abs(found / np.linalg.norm(wrong) - 1) > 1e-3


def test_a_model_of_two_layers_in_two_directions(float64):
    cell = spec.build("gru(hidden=2)", [cells], Cell)
    model = sequence_model(cell, 3, 1, layers=2, bidirectional=True, readout="last")
    params, xs, lengths = shaped(model.init, 0.7), noise(1, 4, 2, 3), np.array([4, 2])

    def top(xs):
        for layer in model.layers(params):
            runs = [unroll(way.cell, way.params, xs, lengths=lengths, reverse=way.reverse)[1] for way in layer]
            xs = jnp.concatenate(runs, -1)
        return jnp.concatenate([runs[0][lengths - 1, jnp.arange(2)], runs[1][0]], -1)

    both = jax.jit(lambda xs: (input_sensitivity(model.layers(params), xs, lengths), jax.jacobian(top)(xs)))
    found, dense = map(np.asarray, both(xs))
    for b in range(2):
        norms = np.sqrt(np.sum(dense[b, :, :, b] ** 2, (0, 2)))
        np.testing.assert_allclose(10 ** found[:, b], norms, rtol=1e-11)


@pytest.mark.parametrize("length", [1, 2, 700])
def test_a_linear_cell_has_a_closed_form_far_below_float32(length):
    way, xs = linear(0.3, length)
    found = jax.jit(lambda xs: input_sensitivity(way, xs))(xs)
    wanted = np.log10(np.linalg.norm(way.params.w_x)) + np.arange(length)[::-1] * np.log10(0.3)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.stack([wanted, wanted], -1), rtol=1e-5, atol=1e-5)


def test_probes_are_unbiased_and_exact_when_they_are_all(float64):
    way, xs = make("lstm(hidden=6)", length=4)

    @jax.jit
    def run(key):
        probed = lambda key: input_sensitivity(way, xs, probes=2, key=key)  # noqa: E731
        every = input_sensitivity(way, xs, probes=6, key=key)
        return input_sensitivity(way, xs), every, jax.lax.map(probed, jax.random.split(key, 400))

    exact, every, probed = map(np.asarray, run(jax.random.key(0)))
    np.testing.assert_allclose(every, exact, rtol=1e-11)
    squares = 100**probed / 100**exact
    bound = math.sqrt(2 * (6 - 2) / (2 * (6 + 2)))
    assert np.all(squares.std(0) < 1.1 * bound) and np.all(squares.std(0) > 0.1 * bound)
    assert np.all(np.abs(squares.mean(0) - 1) < 5 * bound / 20)  # five standard errors


def test_too_wide_for_the_exact_norm():
    way, xs = make("rnn(hidden=257)", length=1)
    with pytest.raises(UserError, match="257 outputs; the exact sensitivity takes up to 256, so give probes=16"):
        input_sensitivity(way, xs)
    with pytest.raises(UserError, match="probes=300; expected from 1 to the 257 outputs"):
        input_sensitivity(way, xs, probes=300, key=jax.random.key(0))
    with pytest.raises(UserError, match="give a key"):
        input_sensitivity(way, xs, probes=3)


def test_horizons_of_a_linear_cell_agree(float64):
    """A cell that shrinks by ρ a step has λ₁ = ln ρ: the sensitivity falls by e within -1/λ₁ steps exactly."""
    way, xs = linear(0.8, 40)
    lengths = np.array([40, 31])

    @jax.jit
    def run(xs, keep):
        curve = mean_log10(by_lag(input_sensitivity(way, xs, lengths), lengths), lengths)
        return horizons(curve, keep=keep, exponent=math.log(0.8)), horizons(curve, exponent=0.1), horizons(curve)

    found, growing, alone = run(xs, np.array([0.0, 0.5, 0.99, 1.0]))
    np.testing.assert_allclose(found.fall_e, -1 / math.log(0.8), rtol=1e-9)
    np.testing.assert_allclose(found.fall_100, -math.log(100) / math.log(0.8), rtol=1e-9)
    np.testing.assert_allclose(found.lyapunov, found.fall_e, rtol=1e-9)
    np.testing.assert_allclose(found.gate, [1, 2, 100, np.inf], rtol=1e-9)
    assert growing.lyapunov == np.inf
    assert alone.gate is None and alone.lyapunov is None


def test_the_gate_horizon_from_the_taps():
    """σ(b_f) with no weights: the forget gate is .9 at every step, and the horizon 10 steps."""
    way, xs = make("lstm(hidden=2)")
    params = jax.tree.map(np.zeros_like, way.params)
    params.b[2:4] = math.log(9)
    keep = lambda xs: gates(way._replace(params=params), xs)["forget_gate"].unit_mean  # noqa: E731
    gate = jax.jit(lambda xs: horizons(jnp.zeros(3), keep(xs)).gate)(xs)
    np.testing.assert_allclose(gate, [10, 10], rtol=1e-5)


@functools.partial(jax.jit, static_argnums=1)
def horizon_of_one_and_two(curve, factor):
    return memory_horizon(curve, factor), memory_horizon(jnp.stack([curve, curve], 1), factor)


@pytest.mark.parametrize(
    "curve, factor, wanted",
    [
        ([0.0, -1.0, -2.0, -3.0], 100.0, 2.0),
        ([5.0, 4.0, 2.0], 100.0, 1.5),  # between two lags, in the logarithm
        ([0.0, 1.0, -1.0, 3.0], 10.0, 2.0),  # the first time
        ([0.0, -0.5], 10.0, np.inf),
        ([0.0], 10.0, np.inf),
        ([0.0, -0.5, np.nan], 10.0, np.inf),  # no such lag
        ([0.0, -np.inf], 10.0, 0.0),  # nothing is left
        ([-np.inf, 0.0], 10.0, np.nan),
    ],
)
def test_memory_horizon_of_known_curves(curve, factor, wanted):
    one, two = horizon_of_one_and_two(np.array(curve, np.float32), factor)
    np.testing.assert_allclose(one, wanted, rtol=1e-6)
    np.testing.assert_allclose(two, [wanted, wanted], rtol=1e-6)


def test_bad_input():
    with pytest.raises(UserError, match="factor=1; expected more than 1"):
        memory_horizon(jnp.zeros(2), 1)
    counting = Cell(
        lambda key, size: (), lambda params, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        input_sensitivity(Direction(counting, (), False), jnp.zeros((2, 1, 1)))

"""Penalties on the gradient's path: closed forms, explicit Jacobians, finite differences, and descent."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, slopes_are_differences, small_case

from seqjax import Cell, UserError, unroll
from seqjax.cells.rnn import RNNCarry
from seqjax.gradients.adjoints import backward
from seqjax.gradients.regularizers import gradient_flossing, vanishing_penalty
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.states import flat, flat_step
from seqjax.types import Direction
from seqjax.unroll import recording

begin = functools.partial(small_case, steps=5)


def tape(cell, params, xs, lengths=None, reverse=False):
    return unroll(recording(cell), params, xs, lengths=lengths, reverse=reverse)[1][0]


def backwards(cell, params, xs, lengths=None, reverse=False, width=3):
    """Carries, and the adjoints of L = Σ weights · y."""
    carries = tape(cell, params, xs, lengths, reverse)
    bars = Scaled(noise(98, *xs.shape[:2], width), jnp.zeros(xs.shape[:2]))
    return carries, backward(Direction(cell, params, reverse), carries, xs, bars, lengths)[0]


def jacobians(cell, params, carries, xs):
    """∂s_t/∂s_{t-1} [T, B, n, n], by jax.jacobian of the step."""
    return jax.vmap(jax.vmap(jax.jacobian(lambda s, x: flat_step(cell, params)(s, x)[0])))(flat(carries), xs)


def floss(cell, xs, k, lengths=None, reverse=False):
    def run(params):
        way = Direction(cell, params, reverse)
        return gradient_flossing(way, tape(cell, params, xs, lengths, reverse), xs, k, jax.random.key(3), lengths)

    return run


def sequence(xs, lengths, b, reverse):
    order = np.arange(xs.shape[0] if lengths is None else lengths[b])
    return order[::-1] if reverse else order


@pytest.mark.parametrize("form", ["lstm(hidden=3)", "gru(hidden=3)"])
@pytest.mark.parametrize("lengths, reverse", [(None, False), ([5, 2], True), ([1, 4], False)])
def test_the_penalty_against_jacobians_one_by_one(form, lengths, reverse, float64):
    cell, params, xs = begin(form)
    given = None if lengths is None else np.array(lengths)

    @jax.jit
    def run(params):
        carries, deltas = backwards(cell, params, xs, given, reverse)
        penalty = vanishing_penalty(Direction(cell, params, reverse), carries, xs, deltas, given)
        return penalty, jacobians(cell, params, carries, xs), flat(deltas.value)

    penalty, js, each = jax.tree.map(np.asarray, run(params))
    total = 0.0
    for b in range(2):
        for t, following in itertools.pairwise(sequence(xs, lengths, b, reverse)):
            d = each[following, b]
            total += (np.linalg.norm(js[t, b].T @ d) / np.linalg.norm(d) - 1) ** 2
    np.testing.assert_allclose(penalty, total / 2, rtol=1e-11)
    assert total > 0.01


def test_a_linear_cell_has_a_penalty_in_closed_form():
    """W_h = ρ times a rotation: every step has the ratio ρ, however small δ is."""
    cell, params, xs = begin("rnn(hidden=3, activation='identity')", steps=150)
    params = params._replace(w_h=np.float32(0.1) * np.eye(3, dtype=np.float32)[[2, 0, 1]])
    carries = RNNCarry(np.zeros((150, 2, 3), np.float32))
    bars = Scaled(np.zeros((150, 2, 3), np.float32), np.zeros((150, 2), np.float32))
    bars.value[-1] = 1

    @jax.jit
    def run(params):
        deltas = backward(Direction(cell, params, False), carries, xs, bars)[0]
        penalty = lambda p: vanishing_penalty(Direction(cell, p, False), carries, xs, deltas)  # noqa: E731
        return deltas.log[0, 0], *jax.value_and_grad(penalty)(params)

    log, value, slope = run(params)
    assert log < -300  # δ is 1e-150 there
    np.testing.assert_allclose(value, 149 * 0.9**2, rtol=1e-5)
    np.testing.assert_allclose(np.sum(slope.w_h * params.w_h), 149 * 2 * (0.1 - 1) * 0.1, rtol=1e-5)  # d/dρ
    assert not np.any(slope.w_x) and not np.any(slope.b)  # states are constants, and this J has no state in it


def test_the_penaltys_gradient_is_that_of_finite_differences(float64):
    cell, params, xs = begin("lstm(hidden=3)", steps=3)
    lengths = np.array([3, 2])
    carries, deltas = jax.jit(lambda p: backwards(cell, p, xs, lengths))(params)
    run = lambda p: vanishing_penalty(Direction(cell, p, False), carries, xs, deltas, lengths)  # noqa: E731
    slopes_are_differences(run, params, forward=False)


def test_states_and_adjoints_are_constants_of_the_penalty(float64):
    cell, params, xs = begin("gru(hidden=3)", steps=3)

    def live(params):
        carries, deltas = backwards(cell, params, xs)
        return vanishing_penalty(Direction(cell, params, False), carries, xs, deltas)

    def frozen(params, carries, deltas):
        return vanishing_penalty(Direction(cell, params, False), carries, xs, deltas)

    both = jax.jit(lambda p: (jax.grad(live)(p), jax.grad(frozen)(p, *backwards(cell, p, xs))))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-13), *both(params))


def descend(run, params, rate, steps):
    """Values along gradient descent."""

    def step(params, _):
        value, slope = jax.value_and_grad(run)(params)
        return jax.tree.map(lambda leaf, g: leaf - rate * g, params, slope), value

    return jax.jit(lambda params: jax.lax.scan(step, params, length=steps)[1])(params)


@pytest.mark.parametrize("form", ["rnn(hidden=3)", "lstm(hidden=3)"])
def test_descent_on_the_penalty_keeps_the_gradient_from_vanishing(form, float64):
    cell, params, xs = begin(form, steps=8, size=0.3)

    def run(params):
        carries, deltas = backwards(cell, params, xs)
        return vanishing_penalty(Direction(cell, params, False), carries, xs, deltas)

    values = descend(run, params, 0.05, 400)
    assert values[0] > 1 and values[-1] < 0.2 * values[0]


def by_qr(js, q0, xs, k, lengths, reverse):
    """The exponents of each sequence [B, k] from k x k volumes of the explicit product, in numpy."""
    found = []
    for b in range(2):
        product = q0[b]
        order = sequence(xs, lengths, b, reverse)
        for t in order:
            product = js[t, b] @ product
        # ln |R_11 ... R_ii| is the logarithm of the volume that the first i vectors span in the end.
        volumes = [0.5 * np.linalg.slogdet(product[:, :i].T @ product[:, :i])[1] for i in range(k + 1)]
        found.append(np.diff(volumes) / len(order))
    return np.array(found)


@pytest.mark.parametrize("form, k", [("lstm(hidden=3)", 3), ("gru(hidden=3)", 1)])
@pytest.mark.parametrize("lengths, reverse", [(None, False), ([5, 2], True), ([1, 4], False)])
def test_flossing_against_the_volumes_of_the_explicit_product(form, k, lengths, reverse, float64):
    cell, params, xs = begin(form)
    given = None if lengths is None else np.array(lengths)

    @jax.jit
    def run(params):
        js = jacobians(cell, params, tape(cell, params, xs, given, reverse), xs)
        q0 = jnp.linalg.qr(jax.random.normal(jax.random.key(3), (2, js.shape[-1], k)))[0]
        return floss(cell, xs, k, given, reverse)(params), js, q0

    found, js, q0 = jax.tree.map(np.asarray, run(params))
    wanted = np.mean(np.sum(by_qr(js, q0, xs, k, lengths, reverse) ** 2, -1))
    np.testing.assert_allclose(found, wanted, rtol=1e-7)
    assert wanted > 0.01


def test_flossing_of_a_linear_cell_has_a_closed_form(float64):
    """W_h = ρ times a rotation: every exponent is ln ρ, and ρ dR/dρ = 2 k ln ρ."""
    cell, params, xs = begin("rnn(hidden=3, activation='identity')", steps=20)
    params = params._replace(w_h=0.5 * np.eye(3)[[2, 0, 1]])
    value, slope = jax.jit(jax.value_and_grad(floss(cell, xs, 2)))(params)
    np.testing.assert_allclose(value, 2 * np.log(0.5) ** 2, rtol=1e-12)
    np.testing.assert_allclose(np.sum(slope.w_h * params.w_h), 4 * np.log(0.5), rtol=1e-12)


@pytest.mark.parametrize("lengths, reverse", [(None, False), ([3, 1], False), ([2, 3], True)])
def test_the_gradient_of_flossing_is_that_of_finite_differences(lengths, reverse, float64):
    """Through the states and the decompositions, and through no padding."""
    cell, params, xs = begin("gru(hidden=3)", steps=3)
    run = floss(cell, xs, 2, None if lengths is None else np.array(lengths), reverse)
    slopes_are_differences(run, params, forward=False)


@pytest.mark.parametrize("form", ["rnn(hidden=3)", "gru(hidden=3)"])
def test_descent_on_flossing_drives_the_exponents_to_zero(form, float64):
    cell, params, xs = begin(form, steps=10, size=0.3)
    values = descend(floss(cell, xs, 2), params, 0.02, 400)
    assert values[0] > 0.1 and values[-1] < 0.1 * values[0]


def test_refusals():
    cell, params, xs = begin("lstm(hidden=3)")
    for k in (0, 7):
        with pytest.raises(UserError, match=f"k={k}; expected 1 to 6"):
            jax.eval_shape(floss(cell, xs, k), params)
    counting = Cell(lambda key, size: (), lambda p, s: jnp.zeros((*s, 1), jnp.int32), lambda p, s, x: (s + 1, x))
    carries, xs = np.zeros((2, 1, 1), np.int32), np.zeros((2, 1, 1))
    way = Direction(counting, (), False)
    with pytest.raises(UserError, match="int32"):
        vanishing_penalty(way, carries, xs, Scaled(xs, np.zeros((2, 1))))
    with pytest.raises(UserError, match="int32"):
        gradient_flossing(way, carries, xs, 1, jax.random.key(0))

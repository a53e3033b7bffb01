"""Gradients scaled by path: values bit for bit, derivatives against the cell written out, refusals."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import Cell, UserError, cells, spec, unroll, zero_nudge
from seqjax.cells.linen import linen
from seqjax.cells.lstm import LSTMCarry, lstm
from seqjax.cells.scaled import paths, scale_paths, scaled

STOP = jax.lax.stop_gradient


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def setup(cell, steps=5, width_in=2):
    """Parameters without a zero in them, and inputs [T, 3, D]."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(lambda: cell.init(jax.random.key(0), width_in)))
    params = jax.tree.unflatten(tree, [0.7 * normal(seed, *leaf.shape) for seed, leaf in enumerate(leaves)])
    return params, normal(99, steps, 3, width_in)


def loss(cell):
    def run(params, xs, nudge=None):
        carry, ys = unroll(cell, params, xs, nudge=nudge)
        return jnp.sum(normal(98, *ys.shape) * ys) + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(carry))

    return run


def slopes(cell, params, xs):
    """Gradients with respect to parameters, inputs and every entering carry."""
    return jax.jit(lambda p, xs: jax.grad(loss(cell), (0, 1, 2))(p, xs, zero_nudge(cell, p, xs)))(params, xs)


@functools.cache
def free_slopes():
    """Those of an LSTM with nothing scaled."""
    cell = lstm(hidden=4)
    return jax.tree.leaves(slopes(cell, *setup(cell)))


def equal(one, other, exact=False):
    check = np.testing.assert_array_equal if exact else (lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-14))
    jax.tree.map(check, one, other)


def by_hand(factors):
    """An LSTM of 4 units written out again, a factor at each of its paths: v -> c v + (1 - c) stop(v)."""

    def at(name, value):
        factor = factors.get(name, 1.0)
        return factor * value + (1 - factor) * STOP(value)

    def step(params, carry, x):
        h, c, x = at("h", carry.h), at("c", carry.c), at("x", x)
        i, f, g, o = jnp.split(x @ params.w_x + h @ params.w_h + params.b, 4, -1)
        i, f, o = (
            at(name, jax.nn.sigmoid(a)) for name, a in [("input_gate", i), ("forget_gate", f), ("output_gate", o)]
        )
        c = f * c + i * at("candidate", jnp.tanh(g))
        h = o * jnp.tanh(c)
        return LSTMCarry(h, c), h

    return lstm(hidden=4)._replace(step=step)


@pytest.mark.parametrize(
    "factors",
    [
        {"c": 0.0},
        {"h": 0},
        {"x": 0.5},
        {"h": 0.5, "c": -1.0},
        {"input_gate": 0.0},
        {"forget_gate": 0.25},
        {"output_gate": 0.0, "candidate": 3},
        {"h": 0.0, "input_gate": 0.0, "forget_gate": 0.0, "output_gate": 0.0, "x": 2.0},
    ],
)
def test_each_path_is_scaled_alone(factors, float64):
    arguments = ", ".join(f"{name}={factor}" for name, factor in factors.items())
    cell = spec.build(f"scaled(cell='lstm(hidden=4)', {arguments})", [cells], Cell)
    params, xs = setup(cell)
    wanted = slopes(by_hand(factors), params, xs)
    equal(slopes(cell, params, xs), wanted)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(jax.tree.leaves(wanted), free_slopes()))


@pytest.mark.parametrize(
    "inner", ["lstm(hidden=4, peepholes=True)", "gru(hidden=4)", "linen(cell='GRUCell', hidden=4)"]
)
@pytest.mark.parametrize("steps", [1, 9])
def test_values_are_the_inner_cells_bit_for_bit(inner, steps):
    plain = spec.build(inner, [cells], Cell)
    params, xs = setup(plain, steps)
    run = jax.jit(lambda cell, p, xs: unroll(cell, p, xs, strategy="scan"), static_argnums=0)
    wanted = run(plain, params, xs)
    for factor in (0.0, 0.3):
        every = scaled(inner, **dict.fromkeys(paths(plain), factor))
        equal(run(every, params, xs), wanted, exact=True)


def test_without_the_paths_of_the_carry_the_gradient_ends_at_each_step(float64):
    cell = scaled("lstm(hidden=4)", c=0.0, h=0.0)
    params, xs = setup(cell)
    delta = slopes(cell, params, xs)[2]
    assert not np.any(delta.h) and not np.any(delta.c)
    only_c = slopes(scaled("lstm(hidden=4)", h=0.0), params, xs)[2]
    assert not np.any(only_c.h) and np.all(only_c.c != 0)


def test_forward_mode_agrees_with_backward_mode(float64):
    cell = scaled("gru(hidden=3)", h=0.5, reset_gate=0.0, x=-2.0)
    params, xs = setup(cell)
    run = lambda params: unroll(cell, params, xs)[1]  # noqa: E731
    equal(jax.jit(jax.jacfwd(run))(params), jax.jit(jax.jacrev(run))(params))


def test_a_gradient_that_is_infinite_is_stopped_by_zero():
    cell = Cell(
        lambda key, size: jnp.ones(()),
        lambda p, shape: jnp.zeros((*shape, 1)),
        lambda p, s, x: (s, p * jnp.sqrt(s) + x),
    )
    free, stopped = (
        jax.grad(lambda s, cell=c: jnp.sum(cell.step(1.0, s, jnp.ones(1))[1]))(jnp.zeros(1))
        for c in (cell, scale_paths(cell, state=0))
    )
    assert np.isinf(free) and stopped == 0


def test_factors_of_nested_cells_multiply(float64):
    nested = spec.build(
        "scaled(cell=\"scaled(cell='gru(hidden=4)', update_gate=0.5, h=0.5)\", update_gate=0.5, h=-1)", [cells], Cell
    )
    params, xs = setup(nested)
    equal(slopes(nested, params, xs), slopes(scaled("gru(hidden=4)", update_gate=0.25, h=-0.5), params, xs))


def test_equal_arguments_are_one_step_and_ones_are_the_inner_cell():
    assert scaled("lstm", h=0.5, c=0).step is scaled("lstm", c=0.0, h=0.5).step
    assert scaled("lstm", h=0.5).step is not scaled("lstm", h=0.25).step
    assert scaled("lstm", h=1).step is lstm().step and scaled(hidden=4).step is lstm(hidden=4).step


def test_widths():
    shape = lambda cell: jax.eval_shape(lambda key: cell.init(key, 2), jax.random.key(0)).w_h.shape  # noqa: E731
    assert shape(scaled(hidden=3)) == (3, 12) and shape(scaled("gru", hidden=5, h=0)) == (5, 15)
    with pytest.raises(UserError, match="give one of them"):
        scaled("lstm(hidden=4)", hidden=4)


def test_paths_by_name_and_by_place():
    assert paths(lstm(hidden=2)) == ["h", "c", "x", "input_gate", "forget_gate", "candidate", "output_gate"]
    assert paths(linen("GRUCell", hidden=2)) == ["h", "x", "sigmoid_0", "sigmoid_1"]

    class Deep(NamedTuple):
        fast: tuple
        slow: jax.Array

    start = lambda params, shape: Deep((jnp.zeros((*shape, 1)),), jnp.zeros((*shape, 1)))  # noqa: E731
    cell = Cell(lambda key, size: (), start, lambda p, s, x: (s, x))
    assert paths(cell) == ["fast_0", "slow", "x"]
    pair = Cell(
        lambda key, size: (), lambda p, shape: (jnp.zeros((*shape, 1)),) * 2, lambda p, s, x: (s[::-1], x + s[0])
    )
    assert paths(pair) == ["carry_0", "carry_1", "x"]
    slope = jax.grad(lambda s: jnp.sum(scale_paths(pair, carry_0=0.5).step((), s, jnp.zeros(1))[1]))((jnp.ones(1),) * 2)
    assert [float(part[0]) for part in slope] == [0.5, 0.0]


@pytest.mark.parametrize(
    "bad, says",
    [
        ("scaled(cell='lstm(hidden=4)', forgetgate=0)", "did you mean 'forget_gate'"),
        ("scaled(cell='gru(hidden=4)', c=0)", "no path 'c'.*paths: h, x, reset_gate, update_gate, candidate"),
        ("scaled(cell='lstm(hidden=4)', h='0')", "h='0'; expected a finite number"),
        ("scaled(cell='lstm(hidden=4)', h=True)", "h=True"),
        ("scaled(cell='lstm(hidden=4)', h=1e999)", "h=1e999 is not a plain value"),
        ("scaled(cell='lsmt')", "did you mean 'lstm'"),
        ("scaled(hiden=4)", "did you mean 'hidden'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says) as caught:
        spec.build(bad, [cells], Cell)
    assert "\n" not in str(caught.value)


def test_an_integer_component_has_no_gradient_to_scale():
    counting = Cell(
        lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    with pytest.raises(UserError, match="int32"):
        scale_paths(counting, state=0.5).step((), jnp.zeros(1, jnp.int32), jnp.zeros(1))

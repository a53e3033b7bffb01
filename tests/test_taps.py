"""Taps: names inside a step that are read and changed, in any cell, at no cost to the cell itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import small_case

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.gru import gru
from seqjax.cells.linen import linen
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import rnn
from seqjax.cells.taps import changed, observed, tap, tap_names

FORMS = [
    "lstm(hidden=3)",
    "lstm(hidden=3, coupled=True)",
    "gru(hidden=3)",
    "rnn(hidden=3)",
    "linen(cell='LSTMCell', hidden=3)",
]


begin = functools.partial(small_case, steps=4, batch=5)


def test_the_names_that_cells_offer():
    assert tap_names(lstm(hidden=2), 3) == ["input_gate", "forget_gate", "candidate", "output_gate"]
    assert tap_names(lstm(hidden=2, coupled=True), 3) == ["input_gate", "forget_gate", "candidate", "output_gate"]
    assert tap_names(lstm(hidden=2, forget_gate=False, output_gate=False), 3) == ["input_gate", "candidate"]
    assert tap_names(gru(hidden=2), 3) == tap_names(gru(hidden=2, reset_after=False), 3)
    assert tap_names(gru(hidden=2), 3) == ["reset_gate", "update_gate", "candidate"]
    assert tap_names(rnn(hidden=2), 3) == []
    assert tap_names(linen("LSTMCell", hidden=2), 3) == ["sigmoid_0", "sigmoid_1", "sigmoid_2"]


@pytest.mark.parametrize("form", FORMS)
def test_looking_changes_no_number(form, float64):
    cell, params, xs = begin(form)
    ways = cell, observed(cell), changed(cell, lambda name, value: value)
    run = jax.jit(lambda params, xs: [unroll(way, params, xs, strategy="scan") for way in ways])
    (carry, ys), (carry_seen, (seen, ys_seen)), same = run(params, xs)
    close = lambda a, b: np.testing.assert_allclose(a, b, 1e-13, 1e-15)  # noqa: E731
    jax.tree.map(close, (carry_seen, ys_seen), (carry, ys))
    assert set(seen) == set(tap_names(cell, 2)) and all(value.shape == (4, 5, 3) for value in seen.values())
    jax.tree.map(close, same, (carry, ys))


def test_what_is_seen_is_the_equation(float64):
    cell, params, xs = begin("lstm(hidden=3)", steps=1)
    run = jax.jit(lambda params, x: observed(cell).step(params, cell.initial_carry(params, (5,)), x))
    after, (seen, y) = jax.tree.map(np.asarray, run(params, xs[0]))
    i, f, g, o = np.split(xs[0] @ params.w_x + params.b, 4, -1)
    for name, value in [("input_gate", i), ("forget_gate", f), ("output_gate", o)]:
        np.testing.assert_allclose(seen[name], 1 / (1 + np.exp(-value)), rtol=1e-12)
    np.testing.assert_allclose(seen["candidate"], np.tanh(g), rtol=1e-12)
    np.testing.assert_allclose(y, seen["output_gate"] * np.tanh(after.c), rtol=1e-12)


@pytest.mark.parametrize(
    "form, gate", [("lstm(hidden=3)", "forget_gate"), ("linen(cell='OptimizedLSTMCell', hidden=3)", "sigmoid_1")]
)
def test_a_change_reaches_what_comes_after_it(form, gate, float64):
    """With every gate at 0, and with the forget gate alone at 1, the cell state has a closed form."""
    cell, params, xs = begin(form)
    closed = changed(cell, lambda name, value: value if name == "candidate" else 0 * value)
    keep = changed(cell, lambda name, value: {gate: value * 0 + 1, "candidate": value}.get(name, 0 * value))
    carry = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.7), jax.eval_shape(lambda p: cell.initial_carry(p, (5,)), params)
    )
    run = jax.jit(lambda params, carry: (unroll(closed, params, xs), unroll(keep, params, xs, carry)[0]))
    (after, ys), kept = jax.tree.map(np.asarray, run(params, carry))
    assert not np.any(after.c) and not np.any(ys)
    np.testing.assert_array_equal(kept.c, carry.c)


def test_inside_jit_scan_vmap_and_grad(float64):
    cell, params, xs = begin("gru(hidden=3)")
    half = changed(cell, lambda name, value: value / 2 if name == "update_gate" else value)

    def by_hand(params, carry, x):
        r_x, z_x, n_x = jnp.split(x @ params.w_x + params.b, 3, -1)
        r_h, z_h, n_h = jnp.split(carry.h @ params.w_h, 3, -1)
        r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h) / 2
        h = (1 - z) * jnp.tanh(n_x + r * (n_h + params.b_n)) + z * carry.h
        return type(carry)(h), h

    def slope(cell):
        return jax.jit(jax.vmap(jax.grad(lambda p, xs: jnp.sum(unroll(cell, p, xs)[1] ** 3)), (None, 1)))(params, xs)

    wanted = slope(cell._replace(step=by_hand))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-14), slope(half), wanted)


def test_a_users_own_cell_and_a_tap_inside_a_function_that_is_jitted(float64):
    gate = jax.jit(lambda s, x: tap("leak", jax.nn.sigmoid(s + x)))

    def step(params, s, x):
        s = gate(s, x) * s + jax.nn.sigmoid(params * x)
        return s, s

    cell = Cell(lambda key, size: jnp.ones(()), lambda p, shape: jnp.zeros((*shape, 1)), step)
    assert tap_names(cell, 1) == ["leak"]  # where there are taps, sigmoids are not offered
    after, y = changed(cell, lambda name, value: 0 * value + 0.25).step(2.0, jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(y, 0.25 + jax.nn.sigmoid(2.0), rtol=1e-12)
    np.testing.assert_array_equal(after, y)


def test_a_name_that_is_not_there_is_a_user_error_where_it_is_typed():
    with pytest.raises(UserError, match="no path 'sigmoid_0'"):
        spec.build("scaled(cell='rnn(hidden=3)', sigmoid_0=0)", [cells], Cell)

"""The gradient by time step: against explicit Jacobians, the ordinary gradient, closed forms, and underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from seqjax import Cell, Task, UserError, cells, spec, tasks, unroll
from seqjax.gradients import lag
from seqjax.gradients.lag import by_lag, lag_histogram, mean_log10, model_step_gradients, step_gradients
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.states import flat, flat_step
from seqjax.models import sequence_model
from seqjax.types import Direction
from seqjax.unroll import recording


def make(form, length=4, width=2, lengths=None, reverse=False):
    """A Direction on random inputs of two sequences, and ∂L/∂y_t at every step, for L = Σ weights · y."""
    cell = spec.build(form, [cells], Cell)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        cell.init(jax.random.key(0), 3),
    )
    xs = jax.random.normal(jax.random.key(1), (length, 2, 3))
    weights = jax.random.normal(jax.random.key(2), (length, 2, width))
    lengths = None if lengths is None else jnp.array(lengths)
    carries = jax.jit(lambda params: unroll(recording(cell), params, xs, lengths=lengths, reverse=reverse)[1][0])(
        params
    )
    return Direction(cell, params, reverse), carries, xs, Scaled(weights, jnp.zeros((length, 2))), lengths


def ordinary(way, xs, ys_bar, lengths):
    """dL/dW by jax.grad through unroll."""

    def loss(params):
        return jnp.sum(unroll(way.cell, params, xs, lengths=lengths, reverse=way.reverse)[1] * ys_bar.value)

    return jax.grad(loss)(way.params)


def same(found, wanted, rtol=1e-10):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13), found, wanted)


@pytest.mark.parametrize("lengths, reverse", [(None, False), ([4, 2], False), ([2, 4], True)])
def test_against_products_of_jacobians(float64, lengths, reverse):
    """Each step's part of an LSTM's gradient, from dense Jacobians, which do not commute."""
    way, carries, xs, ys_bar, lengths = make("lstm(hidden=2)", lengths=lengths, reverse=reverse)
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, lengths))()
    states, step = flat(carries), flat_step(way.cell, way.params)
    flat_params, unravel = ravel_pytree(way.params)
    jacobians = jax.jit(jax.vmap(jax.vmap(jax.jacobian(step))))(states, xs)
    by_weights = jax.vmap(
        jax.vmap(jax.jacobian(lambda p, s, x: flat_step(way.cell, unravel(p))(s, x)), (None, 0, 0)), (None, 0, 0)
    )
    by_weights = jax.jit(by_weights)(flat_params, states, xs)
    parts = np.zeros((4, 2, flat_params.size))
    for b in range(2):
        steps = range(4 if lengths is None else int(lengths[b]))
        delta = np.zeros(4)
        for t in steps if reverse else reversed(steps):
            parts[t, b] = by_weights[0][t, b].T @ delta + by_weights[1][t, b].T @ ys_bar.value[t, b]
            delta = jacobians[0][t, b].T @ delta + jacobians[1][t, b].T @ ys_bar.value[t, b]
    parts = jax.vmap(jax.vmap(unravel))(parts)
    whole = jax.tree.map(lambda leaf: leaf.sum((0, 1)), parts)
    same(jax.tree.map(lambda leaf: leaf * jnp.exp(found.gradient.log), found.gradient.value), whole)
    same(whole, ordinary(way, xs, ys_bar, lengths))

    columns = {"input_gate": (0, 2), "forget_gate": (2, 4), "candidate": (4, 6), "output_gate": (6, 8)}
    groups = {"all": [("w_x", (0, 8)), ("w_h", (0, 8)), ("b", (0, 8))]}
    for block, places in columns.items():
        groups[block] = [(leaf, places) for leaf in ("w_x", "w_h", "b")]
        groups |= {f"{leaf}/{block}": [(leaf, places)] for leaf in ("w_x", "w_h", "b")}
    groups |= {leaf: [(leaf, (0, 8))] for leaf in ("w_x", "w_h", "b")}
    assert set(found.log10_norm) == set(found.share) == set(groups)
    for name, members in groups.items():
        g_t = np.concatenate([getattr(parts, leaf)[..., i:j].reshape(4, 2, -1) for leaf, (i, j) in members], -1)
        g = g_t.sum((0, 1))
        norms = np.linalg.norm(g_t, axis=-1)
        np.testing.assert_allclose(10 ** found.log10_norm[name], norms, rtol=1e-10)
        np.testing.assert_allclose(found.share[name], g_t @ g / (g @ g), rtol=1e-9, atol=1e-13)


def test_the_sum_over_steps_is_the_gradient_of_training(float64):
    task = spec.build("parity(length=6, min_length=2)", [tasks], Task)
    cell = spec.build("gru(hidden=3)", [cells], Cell)
    model = sequence_model(cell, 2, 2, readout="last", tokens=True, layers=2, bidirectional=True)
    params, batch = model.init(jax.random.key(0)), task.sample(jax.random.key(1), 3)

    @jax.jit
    def both(params):
        grads = jax.grad(lambda params: 3 * task.loss(model.apply(params, batch.inputs, batch.lengths)[0], batch))(
            params
        )
        return [[way.params for way in layer] for layer in model.layers(grads)], model_step_gradients(
            model, params, batch, task.loss
        )

    wanted, found = both(params)
    for layer, trees in zip(found, wanted):
        assert len(layer) == len(trees)
        for each, tree in zip(layer, trees):
            same(jax.tree.map(lambda leaf, log=each.gradient.log: leaf * jnp.exp(log), each.gradient.value), tree)
            assert "b_n" in each.share and "w_h/update_gate" in each.share and "b_n/update_gate" not in each.share
            for share in each.share.values():
                np.testing.assert_allclose(share.sum(), 1.0, rtol=1e-12)
            padding = np.arange(6)[:, None] >= np.asarray(batch.lengths)
            assert np.all(np.asarray(each.log10_norm["all"])[padding] == -np.inf)
            assert np.all(np.asarray(each.share["all"])[padding] == 0)


@pytest.mark.parametrize("length", [1, 2, 600])
def test_a_linear_cell_far_below_float32(length):
    """∂L/∂b at step t is δ_{t+1}, which falls by ρ a step where W_h is ρ times a rotation."""
    cell = spec.build("rnn(hidden=4, activation='identity', recurrent_scale=0.3)", [cells], Cell)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (length, 3, 2))
    carries = jax.jit(lambda params: unroll(recording(cell), params, xs)[1][0])(params)
    ys_bar = jnp.zeros((length, 3, 4)).at[-1].set(jax.random.normal(jax.random.key(2), (3, 4)))
    found = jax.jit(
        lambda: step_gradients(Direction(cell, params, False), carries, xs, Scaled(ys_bar, jnp.zeros((length, 3))))
    )()
    curve = mean_log10(by_lag(found.log10_norm["b"]))
    assert curve.dtype == jnp.float32
    np.testing.assert_allclose(curve - curve[0], np.arange(length) * np.log10(0.3), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.share["all"].sum(), 1.0, rtol=1e-5)
    assert np.all(np.isfinite(found.share["all"]))
    assert set(found.share) == {"all", "w_x", "w_h", "b"}


def test_a_tiny_loss_has_the_same_shares():
    """A loss of 1e-200: the norms are told as such in float32, the shares stay."""
    way, carries, xs, ys_bar, _ = make("rnn(hidden=2)")
    once = jax.jit(lambda ys_bar: step_gradients(way, carries, xs, ys_bar))
    found, tiny = once(ys_bar), once(ys_bar._replace(log=jnp.full((4, 2), -200 * np.log(10.0), jnp.float32)))
    for name, norm in found.log10_norm.items():
        np.testing.assert_allclose(tiny.log10_norm[name], norm - 200, rtol=1e-5)
        np.testing.assert_allclose(tiny.share[name], found.share[name], rtol=1e-3, atol=1e-5)


def test_nothing_in_the_padding_counts_and_few_at_a_time_are_the_same(float64, monkeypatch):
    way, carries, xs, ys_bar, lengths = make("rnn(hidden=2)", lengths=[4, 2])
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, lengths))()
    monkeypatch.setattr(lag, "HELD", 1)
    xs, value = (array.at[2:, 1].set(jnp.nan) for array in (xs, ys_bar.value))
    filled = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar._replace(value=value), lengths))()
    same(filled, found)


@pytest.mark.parametrize(
    "form, blocks",
    [
        ("lstm(hidden=2)", ["input_gate", "forget_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, coupled=True)", ["input_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, input_gate=False)", ["forget_gate", "candidate", "output_gate"]),
        ("lstm(hidden=2, full_gate_recurrence=True)", ["input_gate", "forget_gate", "candidate", "output_gate"]),
        ("gru(hidden=2)", ["reset_gate", "update_gate", "candidate"]),
        ("linen(cell='OptimizedLSTMCell', hidden=2)", []),
    ],
)
def test_blocks_of_the_known_cells(form, blocks):
    way, carries, xs, ys_bar, _ = make(form, length=2)
    found = jax.eval_shape(lambda: step_gradients(way, carries, xs, ys_bar)).share
    assert {name.removeprefix("b/") for name in found if name.startswith("b/")} == set(blocks)
    assert set(blocks) <= set(found)
    assert bool(blocks) != ("hf.kernel" in found)


def test_blocks_can_be_named():
    way, carries, xs, ys_bar, _ = make("rnn(hidden=4)", width=4)
    found = jax.jit(lambda: step_gradients(way, carries, xs, ys_bar, blocks=("slow", "fast")))()
    halves = [2 * found.log10_norm[f"w_h/{name}"] for name in ("slow", "fast")]
    np.testing.assert_allclose(10 ** (2 * found.log10_norm["w_h"]), sum(10**half for half in halves), rtol=1e-5)
    with pytest.raises(UserError, match="last axis of 4 is not 3 equal blocks"):
        step_gradients(way, carries, xs, ys_bar, blocks=("a", "c", "d"))
    with pytest.raises(UserError, match="'b' is the name of a parameter"):
        step_gradients(way, carries, xs, ys_bar, blocks=("a", "b"))


def test_steps_in_the_order_of_their_lag():
    values = jnp.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
    np.testing.assert_array_equal(by_lag(values), values[::-1])
    np.testing.assert_array_equal(by_lag(values, reverse=True), values)
    lengths = jnp.array([3, 1])
    np.testing.assert_array_equal(by_lag(values, lengths), [[2, 10], [1, np.nan], [0, np.nan]])
    np.testing.assert_array_equal(by_lag(values, lengths, reverse=True), [[0, 10], [1, np.nan], [2, np.nan]])


def test_means_and_histograms():
    logs = jnp.array([[-300.0, -300.0], [1.0, jnp.log10(30.0)], [2.0, 7.0]])
    np.testing.assert_allclose(mean_log10(logs)[:2], [-300, np.log10(20)], rtol=1e-6)
    np.testing.assert_allclose(mean_log10(logs, jnp.array([2, 1])), [-300, 1, np.nan], rtol=1e-6)
    share = jnp.array([[0.1, 0.2], [0.3, 0.0], [0.4, 0.0]])
    edges, bars = lag_histogram(share)
    assert edges.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(bars, [0.4, 0.3, 0.3], rtol=1e-6)
    edges, bars = lag_histogram(share, [0, 1, 3], jnp.array([3, 1]))
    np.testing.assert_allclose(bars, [0.6, 0.4], rtol=1e-6)
    edges, bars = lag_histogram(jnp.ones((1, 1)))
    assert edges.tolist() == [0, 1] and bars.tolist() == [1]
    with pytest.raises(UserError, match="each larger than the one before"):
        lag_histogram(share, [0, 2, 2])


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda params, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    ys_bar = Scaled(jnp.ones((2, 1, 1)), jnp.zeros((2, 1)))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        step_gradients(Direction(counting, (), False), jnp.zeros((2, 1, 1), jnp.int32), jnp.zeros((2, 1, 1)), ys_bar)

"""Gate statistics: known values, padding, and the direct path against explicit Jacobians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import Cell, UserError, cells, spec
from seqjax.gradients.gates import gate_statistics, gate_values, gates
from seqjax.gradients.states import flat_size, flat_step
from seqjax.types import Direction

statistics = jax.jit(gate_statistics, static_argnames="bins")


def make(form, length=5, batch=2, reverse=False):
    cell = spec.build(form, [cells], Cell)
    params = jax.device_get(jax.jit(cell.init, static_argnums=1)(jax.random.key(0), 3))
    return Direction(cell, params, reverse), np.random.default_rng(1).normal(size=(length, batch, 3))


def test_statistics_of_known_values():
    """Two steps, two sequences, the second of length 1; two units."""
    values = np.array([[[0.05, 0.95], [0.5, 0.95]], [[0.02, 0.5], [0.0, 0.0]]], np.float32)
    found = statistics(values, np.array([2, 1]), bins=2)
    np.testing.assert_allclose(found.mean, (0.05 + 0.95 + 0.5 + 0.95 + 0.02 + 0.5) / 6, rtol=1e-6)
    np.testing.assert_allclose([found.below, found.above], [2 / 6, 2 / 6], rtol=1e-6)
    np.testing.assert_allclose(found.slope, (3 * 0.05 * 0.95 + 2 * 0.25 + 0.02 * 0.98) / 6, rtol=1e-6)
    np.testing.assert_allclose(found.unit_mean, [0.19, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.unit_below, [2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(found.unit_above, [0, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.time_mean, [2.45 / 4, 0.26], rtol=1e-6)
    np.testing.assert_allclose(found.time_below, [1 / 4, 1 / 2], rtol=1e-6)
    np.testing.assert_allclose(found.time_above, [1 / 2, 0], rtol=1e-6)
    np.testing.assert_allclose(found.time_slope, [(3 * 0.0475 + 0.25) / 4, (0.25 + 0.0196) / 2], rtol=1e-6)
    np.testing.assert_allclose(found.histogram, [2 / 6, 4 / 6], rtol=1e-6)
    np.testing.assert_allclose(found.log10_path, [0, np.log10(0.02 * 0.5) / 2], rtol=1e-6)


@pytest.mark.parametrize("leak", [np.float32(0.0), np.array([-2.0, 0.0, 2.0], np.float32)])
@pytest.mark.parametrize("lengths", [None, np.array([5, 1, 2])])
def test_a_gate_that_no_sequence_changes_is_the_same_for_all(leak, lengths):
    """The leak of a user's own cell, one number or one a unit, as many as there are sequences."""

    def step(w, h, x):
        keep = jax.nn.sigmoid(w)
        h = keep * h + (1 - keep) * jnp.sum(x, -1, keepdims=True)
        return h, h

    way = Direction(Cell(None, lambda w, shape: jnp.zeros((*shape, 3)), step), leak, False)
    (found,) = jax.jit(lambda xs: gates(way, xs, lengths))(np.ones((5, 3, 2), np.float32)).values()
    np.testing.assert_allclose(found.unit_mean, np.atleast_1d(jax.nn.sigmoid(leak)), rtol=1e-6)
    np.testing.assert_allclose(found.log10_path[:2], [0, np.mean(np.log10(jax.nn.sigmoid(leak)))], rtol=1e-5)


def test_the_ends_of_the_histogram_and_steps_of_no_sequence():
    found = statistics(np.array([[[0.0, 1.0, 0.5, 0.49]], [[0.0] * 4]], np.float32), np.array([1]), bins=4)
    np.testing.assert_allclose(found.histogram, [0.25, 0.25, 0.25, 0.25])
    assert np.isnan(found.time_mean[1]) and np.isnan(found.log10_path[1])
    with pytest.raises(UserError, match="bins=0; expected at least 1"):
        gate_statistics(jnp.zeros((1, 1, 1)), bins=0)


@pytest.mark.parametrize(
    "form, names",
    [
        ("lstm(hidden=2)", {"input_gate", "forget_gate", "output_gate"}),
        ("lstm(hidden=2, coupled=True, peepholes=True)", {"input_gate", "forget_gate", "output_gate"}),
        ("gru(hidden=2)", {"reset_gate", "update_gate"}),
        ("linen(cell='GRUCell', hidden=2)", {"sigmoid_0", "sigmoid_1"}),
        ("rnn(hidden=2)", set()),
    ],
)
def test_names_come_from_the_taps(form, names):
    way, xs = make(form, 2)
    both = jax.device_get(jax.jit(lambda xs: [gates(way, xs[:length]) for length in (1, 2)])(xs))
    for length, found in zip((1, 2), both):
        assert set(found) == names
        for each in found.values():
            assert each.unit_mean.shape == (2,) and each.time_mean.shape == each.log10_path.shape == (length,)
            np.testing.assert_allclose([each.histogram.sum(), each.unit_mean.mean()], [1, each.mean], rtol=1e-5)
            assert each.log10_path[0] == 0


def test_other_taps_by_name():
    way, xs = make("gru(hidden=2)")
    assert set(jax.eval_shape(lambda: gate_values(way, xs, names=["candidate"]))) == {"candidate"}
    with pytest.raises(UserError, match=r"the cell has no tap 'forget_gate'; expected of .*update_gate"):
        gates(way, xs, names=["forget_gate"])
    with pytest.raises(UserError, match="it has no taps"):
        gates(*make("rnn(hidden=2)"), names=["forget_gate"])


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_takes_no_part(float64, reverse):
    way, xs = make("lstm(hidden=3)", reverse=reverse)
    dirty = xs.copy()
    dirty[3:] = np.nan
    run = jax.jit(lambda xs: (gates(way, xs, jnp.array([3, 3])), gates(way, xs[:3])))
    padded, short = jax.device_get(run(dirty))
    for name, one in short.items():
        for field, wanted in one._asdict().items():
            found = getattr(padded[name], field)
            if field.startswith("time_") or field == "log10_path":
                assert np.all(np.isnan(found[3:]))
                found = found[:3]
            np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=field)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form, gate", [("lstm(hidden=2)", "forget_gate"), ("gru(hidden=2)", "update_gate")])
def test_the_path_is_the_jacobian_where_there_is_no_other(float64, form, gate, reverse):
    """With W_h = 0 the state's only way through time is the gate: ∂c_T/∂c_{T-l} = diag(Π g)."""
    way, xs = make(form, reverse=reverse)
    way = way._replace(params=way.params._replace(w_h=np.zeros_like(way.params.w_h)))
    lengths = np.array([5, 3])
    found = jax.jit(lambda xs: gates(way, xs, jnp.asarray(lengths)))(xs)[gate].log10_path
    step = flat_step(way.cell, way.params)
    advance = jax.jit(lambda s, x: (step(s, x)[0], jax.jacobian(lambda s: step(s, x)[0])(s)))
    logs = np.full((5, 2), np.nan)
    for b in range(2):
        state, every = np.zeros(flat_size(way.cell, way.params)), []
        for t in range(lengths[b])[:: -1 if reverse else 1]:
            state, jacobian = advance(state, xs[t, b])
            every.append(np.asarray(jacobian))
        product = np.eye(len(state))
        for lag in range(lengths[b]):
            logs[lag, b] = np.log10(np.diag(product)[-2:]).mean()
            product = product @ every[-1 - lag]
    np.testing.assert_allclose(found, np.nanmean(logs, 1), rtol=1e-11, atol=1e-14)


def test_a_shut_gate_over_many_steps_does_not_underflow():
    values = np.full((1000, 1, 2), 1e-3, np.float32)
    np.testing.assert_allclose(statistics(values).log10_path, -3.0 * np.arange(1000), rtol=1e-5)


def test_a_gate_of_one_number_is_one_unit():
    np.testing.assert_allclose(statistics(np.array([[0.25], [0.75]], np.float32)).unit_mean, [0.5])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_histogram_counts_any_number(dtype):
    """A bar that is counted in 16 bits stops at 256."""
    values = jax.random.uniform(jax.random.key(0), (100, 32, 32)).astype(dtype)
    assert float(jnp.sum(gate_statistics(values).histogram)) == pytest.approx(1, abs=1e-3)

"""What the classical cells begin with: biases in their blocks, chrono initialization, the forms of their matrices."""

import importlib
import inspect
import math
import pkgutil

import jax
import numpy as np
import pytest

from seqjax import Cell, UserError, cells, spec
from seqjax.cells.gru import gru
from seqjax.cells.lru import lru
from seqjax.cells.lstm import lstm
from seqjax.cells.orthogonal_rnn import orthogonal_rnn
from seqjax.cells.rnn import rnn
from seqjax.models import sequence_model


def biases(cell, blocks):
    """The biases a cell begins with, by block; what else it begins with is compiled away."""
    b = jax.jit(lambda key: cell.init(key, 2).b)(jax.random.key(3))
    return dict(zip(blocks, np.split(np.asarray(b), len(blocks))))


def test_bias_arguments_land_in_their_blocks():
    b = biases(lstm(hidden=5, forget_bias=3.0, input_bias=-2.0, output_bias=0.5), "ifgo")
    assert {name: set(values.tolist()) for name, values in b.items()} == {
        "i": {-2.0},
        "f": {3.0},
        "g": {0.0},
        "o": {0.5},
    }
    assert set(biases(lstm(hidden=5), "ifgo")["f"]) == {1.0}
    assert set(biases(lstm(hidden=5, output_gate=False, forget_bias=3.0), "ifg")["f"]) == {3.0}
    assert set(biases(lstm(hidden=5, coupled=True, forget_bias=3.0), "igo")["i"]) == {-3.0}
    assert set(biases(gru(hidden=5, update_bias=4.0), "rzn")["z"]) == {4.0}
    assert not biases(rnn(hidden=5), "h")["h"].any()


def is_chrono(forget, max_lag):
    """exp(b) is uniform on [1, max_lag - 1]: bounds, and distance from the line by Kolmogorov and Smirnov."""
    lag = np.sort(np.exp(forget.astype(float)))
    assert lag[0] >= 1 - 1e-6 and lag[-1] <= (max_lag - 1) * (1 + 1e-6)
    line = (lag - 1) / (max_lag - 2)
    distance = np.abs(line - (np.arange(lag.size) + 0.5) / lag.size).max()
    assert distance < 1.63 / lag.size**0.5  # the 1 % point


@pytest.mark.parametrize("max_lag", [3, 100, 5000.0])
def test_chrono(max_lag):
    b = biases(lstm(hidden=2000, max_lag=max_lag, recurrent_init="identity"), "ifgo")
    is_chrono(b["f"], max_lag)
    np.testing.assert_array_equal(b["i"], -b["f"])
    assert not b["g"].any() and not b["o"].any()
    is_chrono(-biases(lstm(hidden=2000, max_lag=max_lag, coupled=True, recurrent_init="identity"), "igo")["i"], max_lag)
    is_chrono(biases(gru(hidden=2000, max_lag=max_lag, recurrent_init="identity"), "rzn")["z"], max_lag)


@pytest.mark.parametrize("make, blocks", [(rnn, 1), (gru, 3), (lstm, 4)])
def test_recurrent_matrices_are_what_they_say(make, blocks):
    def begin(kind, scale):
        w = make(hidden=64, recurrent_init=kind, recurrent_scale=scale).init(jax.random.key(5), 2).w_h
        return np.split(np.asarray(w), blocks, axis=1)

    for w in begin("orthogonal", 1.5):
        np.testing.assert_allclose(w @ w.T, 2.25 * np.eye(64), atol=1e-5)
    for w in begin("identity", 0.5):
        np.testing.assert_array_equal(w, 0.5 * np.eye(64))
    for w in begin("normal", 1.5):
        assert abs(w.std() - 1.5 / 8) < 5 * 1.5 / 8 / (2 * 64 * 64) ** 0.5  # five standard errors
        assert abs(np.abs(np.linalg.eigvals(w)).max() / 1.5 - 1) < 0.25
    for w in begin("uniform", 0.2):
        assert np.abs(w).max() <= 0.2 and abs(w.std() - 0.2 / 3**0.5) < 0.005
    for kind in ("orthogonal", "normal", "uniform"):
        ws = begin(kind, 1.0)
        assert all((one != other).any() for n, one in enumerate(ws) for other in ws[:n])  # each gate draws its own


@pytest.mark.parametrize(
    "kind, scale, spread, largest",
    [
        ("glorot", 2.0, 2 * (2 / (50 + 40)) ** 0.5, 2 * (6 / (50 + 40)) ** 0.5),
        ("lecun", 1.0, (1 / 50) ** 0.5, 2.3 * (1 / 50) ** 0.5),
        ("normal", 0.001, 0.001, 0.01),
        ("uniform", 0.3, 0.3 / 3**0.5, 0.3),
    ],
)
def test_input_matrices_are_what_they_say(kind, scale, spread, largest):
    w = np.asarray(lstm(hidden=40, input_init=kind, input_scale=scale).init(jax.random.key(6), 50).w_x)
    assert w.shape == (50, 160)
    assert abs(w.std() / spread - 1) < 0.05 and abs(w.mean()) < 5 * spread / w.size**0.5
    assert np.abs(w).max() <= largest


def begun(argument):
    """Cells with an argument, by name, and how they begin: (settings) -> parameters, of 300 inputs and 40 units."""
    found = {}
    for name in (each.name for each in pkgutil.iter_modules(cells.__path__)):
        make = getattr(importlib.import_module(f"seqjax.cells.{name}"), name, None)
        if make and argument in inspect.signature(make).parameters:
            found[name] = lambda make=make, **more: jax.jit(lambda key: make(hidden=40, **more).init(key, 300))(
                jax.random.key(7)
            )
    return found


@pytest.mark.parametrize("name", begun("input_init"))
def test_every_cells_input_matrices_begin_as_asked(name):
    begin = begun("input_init")[name]
    uniform, usual = (np.asarray(begin(**more).w_x) for more in ({"input_init": "uniform", "input_scale": 0.25}, {}))
    assert 0.245 < np.abs(uniform).max() <= 0.25 and abs(uniform.std() * 3**0.5 / 0.25 - 1) < 0.05
    for w in np.split(usual, usual.shape[1] // 40, axis=1):
        assert abs(w.std() / (2 / (300 + 40)) ** 0.5 - 1) < 0.05  # Glorot's


@pytest.mark.parametrize("name", begun("recurrent_init"))
def test_every_cells_recurrent_matrices_begin_as_asked(name):
    params = begun("recurrent_init")[name](recurrent_init="identity", recurrent_scale=0.5)
    for w in (np.asarray(getattr(params, field)) for field in ("w_h", "w_z") if hasattr(params, field)):
        for block in np.split(w.reshape(40, -1), w.shape[-1] // 40, axis=1):
            np.testing.assert_array_equal(block, 0.5 * np.eye(40))


def test_every_cell_that_takes_these_arguments_is_among_them():
    assert len(begun("recurrent_init")) >= 9 and len(begun("input_init")) >= 13


def test_a_linear_recurrent_unit_begins_on_its_ring():
    """Orvieto et al. 2023, section 3.4 and appendix A: |λ|² uniform, γ² = 1 - |λ|², Glorot's complex matrices."""
    params = lru(hidden=4000, r_min=0.5, r_max=0.9, max_phase=1.0).init(jax.random.key(1), 50)
    radius, phase = np.exp(-np.exp(np.asarray(params.nu, float))), np.exp(np.asarray(params.theta, float))
    for value, low, high in ((radius**2, 0.25, 0.81), (phase, 0.0, 1.0)):
        assert (
            low <= value.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < value.max() <= high + 1e-6
        )
        assert abs(value.mean() - (low + high) / 2) < 5 * (high - low) / math.sqrt(12 * 4000)
    np.testing.assert_allclose(np.exp(2 * np.asarray(params.gamma, float)), 1 - radius**2, rtol=1e-4)
    for w, spread in ((params.w_b, 1 / math.sqrt(2 * 50)), (params.w_d, 1 / math.sqrt(50))):
        assert abs(np.std(w) / spread - 1) < 0.02
    assert abs(np.std(lru(hidden=100).init(jax.random.key(1), 3).w_c) / 0.1 - 1) < 0.03
    tiny = lru(hidden=8, max_phase=1e-300).init(jax.random.key(1), 2)
    assert np.isfinite(np.asarray(tiny.theta)).all()
    for phase in (0.0, 7.0, math.inf):
        with pytest.raises(UserError, match=r"max_phase=.*; expected more than 0, up to 2π"):
            lru(max_phase=phase)


def test_an_orthogonal_networks_modulus_biases_begin_small():
    b = np.asarray(orthogonal_rnn(hidden=400).init(jax.random.key(2), 3).b)
    assert 0.0095 < np.abs(b).max() <= 0.01 and abs(b.mean()) < 0.002


def test_a_lag_that_no_bias_can_hold_is_refused():
    for make in (lstm, gru):
        with pytest.raises(UserError, match=r"max_lag=1e\+40; expected more than 2 steps, up to 1e\+09"):
            make(max_lag=1e40)


@pytest.mark.parametrize(
    ("name", "bias"),
    [(name, "forget_bias") for name in ("lstm", "janet", "mgu", "min_lstm")]
    + [(name, "input_bias") for name in ("lstm", "min_lstm")]
    + [(name, "update_bias") for name in ("gru", "min_gru")],
)
def test_a_bias_and_the_lag_that_stands_in_its_place_are_not_both_given(name, bias):
    with pytest.raises(UserError, match=f"{bias}=2.5 beside max_lag=9, which stands in its place; give one of them"):
        spec.build(f"{name}(max_lag=9, {bias}=2.5)", [cells], Cell)


def test_biases_of_single_units():
    """The 1997 paper's output gates begin with -1, -2, -3: one bias a unit, the forget gates' beside."""
    cell = spec.build("lstm(hidden=3, output_bias=(-1, -2.5, -3), forget_bias=(0.5, 1, 2))", [cells], Cell)
    b = np.asarray(cell.init(jax.random.key(0), 2).b)
    np.testing.assert_array_equal(b, [0, 0, 0, 0.5, 1, 2, 0, 0, 0, -1, -2.5, -3])
    with pytest.raises(UserError, match="output_bias holds 2 numbers; expected one number, or 3 of them"):
        spec.build("lstm(hidden=3, output_bias=(-1, -2))", [cells], Cell)
    with pytest.raises(UserError, match=r"output_bias=.*expected a number or a tuple, each a number"):
        spec.build("lstm(hidden=1, output_bias=('a',))", [cells], Cell)


def test_gates_recurrence_begins_like_the_rest():
    cell = spec.build(
        "lstm(hidden=3, full_gate_recurrence=True, recurrent_init='uniform', recurrent_scale=0.2)", [cells], Cell
    )
    w = np.asarray(cell.init(jax.random.key(0), 2).w_gates)
    assert w.shape == (9, 9) and 0.15 < np.abs(w).max() <= 0.2
    with pytest.raises(UserError, match="gates_to_input=True adds to full_gate_recurrence=True"):
        lstm(3, gates_to_input=True)


def test_gates_of_blocks_begin_like_the_rest():
    """A gate's column for each block, its bias beside; the cells' inputs as ever."""
    cell = lstm(hidden=400, block_size=4, output_bias=-1.0, recurrent_init="uniform", recurrent_scale=0.2)
    params = cell.init(jax.random.key(0), 2)
    assert params.w_x.shape == (2, 700) and params.w_h.shape == (400, 700)
    assert 0.19 < np.abs(params.w_h).max() <= 0.2 and len(np.unique(params.w_h[0])) == 700
    np.testing.assert_array_equal(params.b, np.repeat([0.0, 1.0, 0.0, -1.0], [100, 100, 400, 100]))


def test_what_stands_around_the_cells_begins_within_a_range():
    """Readout and embedding are uniform; the cells are what they are without."""
    build = lambda **more: sequence_model(lstm(20), 30, 40, tokens=True, embedding=50, **more)  # noqa: E731
    params, usual = (build(**more).init(jax.random.key(1)) for more in ({"around_scale": 0.2}, {}))
    for w in (params["around"]["head"]["kernel"], params["around"]["embed"]["embedding"]):
        assert 0.19 < np.abs(w).max() <= 0.2 and abs(np.std(w) - 0.2 / np.sqrt(3)) < 0.01
    assert not np.any(params["around"]["head"]["bias"])
    jax.tree.map(np.testing.assert_array_equal, params["layer_0"], usual["layer_0"])

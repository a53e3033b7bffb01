"""The laboratory at its edges: clips in other cells, lengths past the last step, half precision, NaN beside numbers."""

import importlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, shaped

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.clipped import unclipped
from seqjax.gradients import adjoints, gradient_norms, log10_norms
from seqjax.gradients.adjoints import backward
from seqjax.gradients.curse import sensitivities
from seqjax.gradients.gates import gate_statistics
from seqjax.gradients.jacobians import step_jacobians
from seqjax.gradients.lag import by_lag, mean_log10, step_gradients
from seqjax.gradients.lyapunov import lyapunov
from seqjax.gradients.noise import clip_fraction, signal_to_noise
from seqjax.gradients.regularizers import gradient_flossing, vanishing_penalty
from seqjax.gradients.rtrl import rtrl
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.sensitivity import horizons, input_sensitivity
from seqjax.gradients.singular import singular_values
from seqjax.gradients.spectra import log10_condition_number, spectral_radius
from seqjax.gradients.truncation import truncation_bias
from seqjax.types import Batch, Direction, Model
from seqjax.unroll import recording


def tape(form, steps, batch, lengths=None, reverse=False, dtype=jnp.float32, scale=0.7):
    """A cell as it stands in a model, the carries that enter each step, and inputs [T, B, 2]."""
    cell = spec.build(form, [cells], Cell)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), shaped(lambda key: cell.init(key, 2), scale))
    xs = jnp.asarray(noise(99, steps, batch, 2), dtype)
    run = jax.jit(lambda p, x: unroll(recording(cell), p, x, lengths=lengths, reverse=reverse)[1][0])
    return Direction(cell, params, reverse), run(params, xs), xs


def in_single(way, carries, xs):
    """The same tape, its numbers as 32 bits."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (way.params, carries, xs))


@pytest.mark.parametrize(
    "form",
    [
        "skip(cell=\"clipped(cell='rnn(hidden=3)', norm=.01)\")",
        'scaled(cell="clipped(cell=\'skip(cell=\\"rnn(hidden=3)\\")\', value=.01)", x=.5)',
        'clipped(cell="skip(cell=\\"clipped(cell=\'rnn(hidden=3)\', norm=.01)\\")", norm=.01)',
    ],
)
def test_a_clip_inside_another_cell_is_left_out_of_the_adjoints(form):
    """Rescaled adjoints would be clipped at a norm that is not theirs; and a clip has no way forwards."""

    def norms(form):
        cell = spec.build(form, [cells], Cell)
        params = shaped(lambda key: cell.init(key, 2), 0.7)
        start = cell.initial_carry(params, (2,))
        found = adjoints(cell.step, params, start, noise(99, 9, 2, 2), lambda ys: jnp.sum(ys[-1, :, :3] ** 2))
        return np.asarray(*log10_norms(found).values()), cell

    (found, cell), (wanted, _) = norms(form), norms("rnn(hidden=3)")
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert unclipped(cell).step is unclipped(spec.build(form, [cells], Cell)).step  # so that programs are shared
    exponents = [lyapunov(*tape(each, 9, 2)).mean for each in (form, "rnn(hidden=3)")]
    np.testing.assert_allclose(*exponents, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["deer", "quasi_deer"])
def test_newton_refuses_cells_that_it_cannot_differentiate_forwards(strategy):
    cell = spec.build("clipped(cell='rnn(hidden=3)', norm=1.0)", [cells], Cell)
    params, xs = cell.init(jax.random.key(0), 2), noise(1, 4, 2, 2)
    with pytest.raises(UserError, match=r"changes its gradient on the way back.*expected 'scan'"):
        unroll(cell, params, xs, strategy=strategy)
    counting = Cell(lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s, x))
    with pytest.raises(UserError, match="int32; gradients need floating point"):
        unroll(counting, (), xs, strategy=strategy)


@pytest.mark.parametrize("reverse", [False, True])
def test_lengths_past_the_last_step_are_all_steps(float64, reverse):
    """As `unroll` takes them."""
    beyond, exact = np.array([9, 4]), np.array([6, 4])
    way, carries, xs = tape("gru(hidden=3)", 6, 2, exact, reverse, jnp.float64)
    values = np.abs(noise(1, 6, 2, 3)) % 1
    for measure in (
        lambda lengths: singular_values(way, carries, xs, lengths).log10,
        lambda lengths: singular_values(way, carries, xs, lengths, k=2, lags=[2, 6]).log10,
        lambda lengths: lyapunov(way, carries, xs, lengths, warmup=2).exponents,
        lambda lengths: gradient_flossing(way, carries, xs, 2, jax.random.key(0), lengths),
        lambda lengths: gate_statistics(values, lengths, reverse).unit_mean,
        lambda lengths: by_lag(values[..., 0], lengths, reverse),
        lambda lengths: input_sensitivity(way, xs, lengths),
    ):
        np.testing.assert_array_equal(*(np.asarray(measure(jnp.asarray(each))) for each in (beyond, exact)))


def test_adjoints_of_one_sequence_that_ends_early(float64):
    way, _, xs = tape("lstm(hidden=3)", 6, 1, dtype=jnp.float64)
    (cell, params, _), loss = way, lambda ys: jnp.sum(ys**2)
    run = lambda xs, shape, lengths: adjoints(  # noqa: E731
        cell.step, params, cell.initial_carry(params, shape), xs, loss, lengths=lengths
    )
    alone, beside = run(xs[:, 0], (), jnp.array(4)), run(xs, (1,), jnp.array([4]))
    np.testing.assert_allclose(alone.value.c, beside.value.c[:, 0], rtol=1e-12)
    assert np.all(alone.value.c[4:] == 0) and np.all(alone.value.c[:4] != 0)


def test_sums_over_a_thousand_steps_are_not_kept_in_half_precision():
    """On one tape, whose numbers are of 16 bits, and the same numbers as 32 bits."""
    way, carries, xs = tape("rnn(hidden=3)", 1000, 2, dtype=jnp.bfloat16)
    params, *single = in_single(way, carries, xs)
    both = [(way, carries, xs), (way._replace(params=params), *single)]
    for measure, tolerance in (
        (lambda *each: lyapunov(*each, k=1).exponents, 0.02),
        (lambda *each: gradient_flossing(*each, 1, jax.random.key(0)), 0.03),
        (lambda *each: singular_values(*each, lags=[10, 1000]).log10[..., 0], 0.02),
        (lambda *each: singular_values(*each, k=1, lags=[10, 1000]).log10[..., 0], 0.02),
    ):
        found, wanted = (np.asarray(measure(*each), float) for each in both)
        assert np.max(np.abs(found / wanted - 1)) < tolerance, (found, wanted)


def test_half_precision_where_lapack_has_none():
    way, _, xs = tape("rnn(hidden=4)", 5, 2, dtype=jnp.bfloat16)
    found = [input_sensitivity(way, xs, probes=each, key=jax.random.key(0)) for each in (4, None)]
    np.testing.assert_allclose(*(np.asarray(each, float) for each in found), atol=0.05)
    w_h = jnp.asarray([[0.5, 0.25], [0, -0.75]], jnp.bfloat16)
    np.testing.assert_allclose(np.asarray(spectral_radius(w_h, "eigvals"), float), [0.75], rtol=1e-2)


@pytest.mark.parametrize("padding", [False, True])
def test_a_sequence_of_no_numbers_takes_nothing_from_the_others(padding):
    """Nor do the numbers that stand where a sequence has no steps."""
    lengths = np.array([24, 4 if padding else 24])
    way, carries, xs = tape("rnn(hidden=9)", 24, 2, lengths, reverse=padding, scale=0.4)
    spoiled = xs.at[5 if padding else 0, 1].set(jnp.nan)
    run = jax.jit(lambda xs: singular_values(way, carries, xs, lengths, lags=[16], k=3, oversample=0).log10)
    found, wanted = (np.asarray(run(each)) for each in (spoiled, xs))
    np.testing.assert_allclose(found[:, 0], wanted[:, 0], atol=2e-3)


def test_equal_sequences_have_no_noise_and_zeros_no_ratio():
    """The mean of three times .1 is rounded."""
    found = signal_to_noise(Scaled(np.full((1, 3, 2), 0.1, np.float32), np.zeros((1, 3), np.float32)))
    assert np.isposinf(found.ratio["carry"]) and np.isneginf(found.log10_noise["carry"])
    nothing = signal_to_noise(Scaled(np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), np.float32)))
    assert np.isnan(nothing.ratio["carry"])


def test_what_is_no_number_is_told_as_such():
    assert np.isnan(horizons(jnp.zeros(3), exponent=jnp.nan).lyapunov)
    assert np.isnan(clip_fraction(jnp.array([jnp.nan, 5.0, -3.0]), 1.0))
    assert np.isposinf(log10_condition_number(jnp.full(3, -jnp.inf)))
    way, _, xs = tape("rnn(hidden=2)", 3, 1)
    for windows in ([], 4):
        with pytest.raises(UserError, match="; expected numbers of steps, each at least 1"):
            truncation_bias(way.cell, way.params, xs, jnp.sum, windows=windows)


def test_lengths_of_the_laboratory_may_be_a_list():
    decay = lambda params, carry, x: (params * carry + x, carry)  # noqa: E731
    way = Direction(Cell(None, lambda params, shape: jnp.zeros((*shape, 1)), decay), jnp.ones(1), False)
    xs, of = np.ones((3, 2, 1)), {"lengths": [3, 1]}
    bars = Scaled(xs, np.zeros((3, 2)))
    found = jax.eval_shape(
        lambda: (
            step_jacobians(way, xs, xs, **of),
            input_sensitivity(way, xs, **of),
            step_gradients(way, xs, xs, bars, **of).share["params"],
            mean_log10(xs[..., 0], **of),
        )
    )
    assert [each.shape for each in found] == [(3, 2, 1, 1), (3, 2), (3, 2), (3,)]


def test_the_page_names_what_there_is_and_its_example_runs(capsys):
    page = (Path(__file__).parents[1] / "docs/laboratory.md").read_text()
    table, code = page.split("```python\n")
    named = re.findall(r"`(\w+)\.(\w+)`", table)
    named = [each for each in named if each[0] not in ("experiments", "seqjax")]
    assert len(named) > 20
    for module, function in named:
        assert callable(getattr(importlib.import_module(f"seqjax.gradients.{module}"), function))
    exec(compile(code.split("```")[0], "laboratory.md", "exec"), {})
    clipped, *lags = capsys.readouterr().out.splitlines()
    assert "of the batches" in clipped and len(lags) == 7
    assert sum(float(line.split(":")[1].split()[0]) for line in lags) == pytest.approx(1, abs=0.005)


def test_of_states_that_are_lost_no_slope_of_zero_is_told():
    """The slope of relu at NaN is 0: a network that has diverged is not one whose gradient is exactly zero."""
    way, _, xs = tape("rnn(hidden=2, activation='relu')", 3, 2)
    xs = xs.at[2, 0].set(jnp.nan)
    carries = unroll(recording(way.cell), way.params, xs)[1][0]
    for k in (None, 1):
        values = np.asarray(singular_values(way, carries, xs, k=k, lags=[1, 3]).log10)
        assert np.isnan(values[:, 0]).all() and not np.isnan(values[:, 1]).any()
    found = lyapunov(way, carries, xs, k=1)
    assert np.isnan(found.exponents[:, 0]).tolist() == [True, False]


def test_lengths_may_be_a_list():
    lengths = [1, 3]
    way, carries, xs = tape("rnn(hidden=2)", 3, 2, lengths)
    ones, cell, params = jnp.ones((3, 2, 2)), way.cell, way.params
    deltas, _ = backward(way, carries, xs, Scaled(ones, jnp.zeros((3, 2))), lengths)
    runs = (
        lambda steps: sensitivities(way, carries, xs, steps),
        lambda steps: rtrl(cell, params, xs, ones, lambda y, target: jnp.sum(y * target), steps),
        lambda steps: vanishing_penalty(way, carries, xs, deltas, steps),
        lambda steps: gradient_flossing(way, carries, xs, 1, jax.random.key(0), steps),
        lambda steps: signal_to_noise(deltas, steps),
    )
    for run in runs:
        jax.tree.map(np.testing.assert_array_equal, run(lengths), run(np.array(lengths)))


def test_a_step_that_no_sequence_has_is_no_exact_zero():
    lengths = np.array([1, 2])
    way, carries, xs = tape("rnn(hidden=2)", 3, 2, lengths)
    model = Model(None, None, lambda _, xs: xs, lambda _: ((way,),), lambda _, ys, *rest: ys)
    batch = Batch(xs, None, np.ones((3, 2)), lengths)
    norms = gradient_norms(model, way.params, batch, lambda ys, batch: jnp.sum(ys**2)).log10_norm
    for curve in (norms["carry"], *sensitivities(way, carries, xs, lengths).parameters.values()):
        assert np.isnan(curve).tolist() == [False, False, True]

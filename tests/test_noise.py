"""Gradient noise: estimators with a known answer, the clip fraction, and truncation against Jacobian products."""

import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, shaped

from seqjax import Cell, Task, UserError, cells, spec, tasks
from seqjax.cells.lstm import LSTMCarry
from seqjax.gradients.noise import batch_gradient_norms, clip_fraction, signal_to_noise
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.truncation import truncation
from seqjax.models import sequence_model
from seqjax.types import Batch


def scaled(value):
    return Scaled(value, np.zeros(jax.tree.leaves(value)[0].shape[:2]))


def run(*given):
    """`signal_to_noise` compiled, its answer in NumPy."""
    return jax.tree.map(np.asarray, jax.jit(signal_to_noise)(*given))


def test_known_numbers_and_padding(float64):
    """Three sequences at step 0: mean (2, 0), variance 1 + 1; two at step 1; one at step 2."""
    delta = np.array([[[1.0, 0], [3, 1], [2, -1]], [[1.0, 1], [3, 1], [0, 0]], [[5.0, 5], [0, 0], [0, 0]]])
    found = run(scaled(delta), np.array([3, 2, 1]))
    np.testing.assert_allclose(found.ratio["carry"], [(4 - 2 / 3) / 2, (5 - 2 / 2) / 2, np.nan], rtol=1e-12)
    np.testing.assert_allclose(10 ** found.log10_mean["carry"], [2, math.sqrt(5), math.sqrt(50)], rtol=1e-12)
    np.testing.assert_allclose(10 ** found.log10_noise["carry"], [2**0.5, 2**0.5, np.nan], rtol=1e-12)


def test_the_estimators_are_unbiased(float64):
    """δ = μ + N(0, Σ), ‖μ‖² = 0.25, tr Σ = 4 + 1: the means over many batches of 4 are those."""
    found = run(scaled(noise(0, 20_000, 4, 2) * [2.0, 1.0] + [0.5, 0.0]))
    variance = 100 ** found.log10_noise["carry"]
    signal = found.ratio["carry"] * variance
    for estimate, truth in ((variance, 5.0), (signal, 0.25)):
        assert abs(estimate.mean() - truth) < 4 * estimate.std() / math.sqrt(20_000)
    assert np.any(signal < 0)
    biased = 100 ** found.log10_mean["carry"]
    assert biased.mean() - 0.25 > 1.0  # ‖mean‖² alone has tr Σ / 4 too much


def test_a_tiny_gradient_has_the_same_ratio():
    value, logs = {"h": noise(0, 3, 5, 2), "c": noise(1, 3, 5, 2)}, noise(2, 3, 5)
    plain, tiny = (run(Scaled(value, logs + np.float32(low))) for low in (0, -460))
    assert set(plain.ratio) == {"carry", "h", "c"}
    for name in plain.ratio:
        np.testing.assert_allclose(tiny.ratio[name], plain.ratio[name], rtol=1e-3, atol=1e-4)
        for few, many in zip(tiny[1:], plain[1:]):
            np.testing.assert_allclose(few[name], many[name] - 460 / math.log(10), rtol=1e-5)


def test_equal_sequences_and_one_sequence():
    found = run(scaled(np.full((1, 4, 2), 0.5)))
    assert found.ratio["carry"].tolist() == [np.inf] and found.log10_noise["carry"].tolist() == [-np.inf]
    with pytest.raises(UserError, match="1 sequence in the batch; a variance over sequences needs at least 2"):
        signal_to_noise(scaled(np.ones((2, 1, 2))))


def test_clip_fraction(float64):
    """L = x · w on batches x: the gradient is x."""
    batches = np.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0], [0.0, 0.0]])

    @jax.jit
    def run(w, batches):
        norms = batch_gradient_norms(lambda w, x: jnp.dot(x, w), w, batches)
        return norms, [clip_fraction(norms, limit) for limit in (0.1, 1, 7, 20)]

    norms, clipped = run(np.ones(2), batches)
    np.testing.assert_allclose(10 ** np.asarray(norms), [5, 0.5, 10, 0], rtol=1e-12)
    np.testing.assert_array_equal(clipped, [0.75, 0.5, 0.25, 0])
    for threshold in (0, math.nan):
        with pytest.raises(UserError, match=f"threshold={threshold}; expected more than 0"):
            clip_fraction(norms, threshold)


def build(form, **options):
    """A model of bits, random parameters, three sequences of lengths 5, 3 and 1, and a loss at the last step."""
    model = sequence_model(spec.build(form, [cells], Cell), 2, 2, readout="last", tokens=True, **options)
    inputs = (noise(3, 5, 3) > 0).astype(int)
    batch = Batch(inputs, np.zeros(3), np.ones(3), np.array([5, 3, 1]))
    return model, shaped(model.init, 0.7), batch, lambda outputs, batch: jnp.sum(outputs[:, 0] ** 3)


def dense(tree, rows):
    """Jacobians of h and c, by the leaves of something, as one matrix."""
    return np.concatenate(
        [np.concatenate([leaf.reshape(rows, -1) for leaf in jax.tree.leaves(row)], 1) for row in tree]
    )


def test_truncation_against_products_of_jacobians(float64):
    """Σ over the last k steps of (∂s_t/∂W)ᵀ J_{t+1}ᵀ ... J_Tᵀ ∂L/∂s_T, of an LSTM that reads both ways."""
    model, params, batch, loss = build("lstm(hidden=2)", bidirectional=True)
    windows, xs = (1, 2, 3, 5), np.eye(2)[batch.inputs]
    outputs = np.asarray(jax.jit(model.apply)(params, batch.inputs, batch.lengths)[0])
    head = params["around"]["head"]["kernel"][:, 0].reshape(2, 2)
    cell = model.layers(params)[0][0].cell

    @jax.jit
    def pieces(params, carry, x):
        each = jax.jacobian(lambda params, carry: cell.step(params, carry, x)[0], (0, 1))
        return each(params, carry), cell.step(params, carry, x)[0]

    gradients = {window: [] for window in windows}
    for way, readout in zip(model.layers(params)[0], head):
        sums = dict.fromkeys(windows, 0.0)
        for b, length in enumerate(batch.lengths.tolist()):
            carry, tape = LSTMCarry(np.zeros(2), np.zeros(2)), []
            for t in range(length)[:: -1 if way.reverse else 1]:
                by_row, carry = jax.tree.map(np.asarray, pieces(way.params, carry, xs[t, b]))
                tape.append([dense([h_or_c[k] for h_or_c in by_row[:2]], 2) for k in (0, 1)])
            delta = np.concatenate([3 * outputs[b, 0] ** 2 * readout, np.zeros(2)])
            for age, (weights, matrix) in enumerate(reversed(tape)):
                for window in windows:
                    sums[window] = sums[window] + (age < window) * (weights.T @ delta)
                delta = matrix.T @ delta
        for window in windows:
            gradients[window].append(sums[window])
    found = jax.jit(lambda params: truncation(model, params, batch, loss, windows))(params)
    found = jax.tree.map(np.asarray, found)
    full = np.concatenate(gradients[5])
    for k, window in enumerate(windows):
        cut = np.concatenate(gradients[window])
        ratio = np.linalg.norm(cut) / np.linalg.norm(full)
        np.testing.assert_allclose(found.cosine[k], cut @ full / ratio / (full @ full), rtol=1e-10)
        np.testing.assert_allclose(10 ** found.log10_ratio[k], ratio, rtol=1e-10)
    assert found.cosine[0] < 0.999


def test_truncation_of_a_stack_with_a_loss_at_every_step(float64):
    """The same as a loop that stops the gradient of both layers' carries before steps 1 and 3 of 5."""
    cell = spec.build("gru(hidden=2)", [cells], Cell)
    model = sequence_model(cell, 3, 1, layers=2)
    params, xs = shaped(model.init, 0.7), noise(1, 5, 2, 3)
    batch = Batch(xs, np.zeros((5, 2, 1)), np.ones((5, 2)))

    def loss(outputs, batch):
        return jnp.sum(outputs**3)

    def by_hand(params, stops):
        (lower,), (upper,) = model.layers(params)
        carries, ys = [cell.initial_carry(way.params, (2,)) for way in (lower, upper)], []

        def both(carries, x):
            first, y = cell.step(lower.params, carries[0], x)
            second, y = cell.step(upper.params, carries[1], y)
            return [first, second], y

        for t, end in itertools.pairwise((0, *stops, 5)):
            carries, y = jax.lax.scan(both, jax.lax.stop_gradient(carries), xs[t:end])
            ys.append(y)
        return loss(model.read(params, jnp.concatenate(ys), None), batch)

    def vector(grads):
        return jnp.concatenate([leaf.ravel() for (way,) in model.layers(grads) for leaf in jax.tree.leaves(way.params)])

    @jax.jit
    def both(params):
        cut, full = (vector(jax.grad(by_hand)(params, stops)) for stops in ((1, 3), ()))
        norms = jnp.linalg.norm(cut), jnp.linalg.norm(full)
        return cut @ full / norms[0] / norms[1], norms[0] / norms[1], truncation(model, params, batch, loss, [2])

    cosine, ratio, found = both(params)
    np.testing.assert_allclose(found.cosine, [cosine], rtol=1e-11)
    np.testing.assert_allclose(10 ** np.asarray(found.log10_ratio), [ratio], rtol=1e-11)
    assert cosine < 0.999


@pytest.mark.parametrize("form, length", [("lstm(hidden=5)", 1), ("rnn(hidden=7)", 2), ("lstm(hidden=5)", 6)])
def test_a_window_as_long_as_the_sequence_truncates_nothing(form, length):
    task = spec.build(f"parity(length={length})", [tasks], Task)
    model = sequence_model(spec.build(form, [cells], Cell), 2, 2, readout="last", tokens=True)
    params, batch = shaped(model.init, 0.5), task.sample(jax.random.key(1), 4)
    found = jax.jit(lambda params: truncation(model, params, batch, task.loss, [1, length, length + 3, 1000]))(params)
    found = jax.tree.map(np.asarray, found)
    assert found.cosine[1:].tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(found.log10_ratio[1:], 0, atol=1e-6)
    assert (found.cosine[0] == 1) == (length == 1)
    assert found.windows.tolist() == [1, length, length + 3, 1000]


@pytest.mark.parametrize("windows", [[4, 0], [], 4, [2.5], [[1], [2]], ["1"]])
def test_windows_are_numbers_of_steps(windows):
    model, params, batch, loss = build("rnn(hidden=2)")
    with pytest.raises(UserError, match=re.escape(f"windows={windows!r}; expected numbers of steps, each at least 1")):
        truncation(model, params, batch, loss, windows)

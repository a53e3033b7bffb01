"""The cells that are linear in their state, and IndRNN, against NumPy loops from the papers."""

import jax
import numpy as np
import pytest
from contract import close
from paper_loops import sigmoid

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.indrnn import IndRNNParams, indrnn
from seqjax.cells.lru import LRUParams, lru
from seqjax.cells.min_gru import MinGRUParams, min_gru
from seqjax.cells.min_lstm import MinLSTMParams, min_lstm

B, D, H = 3, 2, 4
run = jax.jit(unroll, static_argnums=0)


def looped(step, h, xs):
    """The outputs of h, y = step(h, x)."""
    ys = []
    for x in xs:
        h, y = step(h, x)
        ys.append(y)
    return h, np.stack(ys)


def test_lru_is_the_papers(float64):
    """Orvieto et al. (2023), appendix A, with complex numbers."""
    draw = np.random.default_rng(0).normal
    nu, theta, gamma = draw(size=(3, H))
    B_, C, D_ = (
        draw(size=(D, H)) + 1j * draw(size=(D, H)),
        draw(size=(H, H)) + 1j * draw(size=(H, H)),
        draw(size=(D, H)),
    )
    eigenvalues = np.exp(-np.exp(nu) + 1j * np.exp(theta))

    def step(h, x):
        h = eigenvalues * h + np.exp(gamma) * (x @ B_)
        return h, (h @ C).real + x @ D_

    xs = draw(size=(7, B, D))
    h, ys = looped(step, np.zeros((B, H), complex), xs)
    params = LRUParams(nu, theta, gamma, np.concatenate([B_.real, B_.imag], 1), np.concatenate([C.real, -C.imag]), D_)
    carry, out = run(lru(H), params, xs)
    close((carry.re, carry.im, out), (h.real, h.imag, ys))


def test_lru_begins_on_its_ring():
    """|λ|² is uniform between the radii, the argument below max_phase, γ² = 1 - |λ|²."""
    cell = lru(4000, r_min=0.5, r_max=0.9, max_phase=0.3)
    params = jax.jit(lambda key: cell.init(key, 1)._replace(w_b=0, w_c=0, w_d=0))(jax.random.key(0))
    size, phase = np.exp(-np.exp(np.asarray(params.nu, float))), np.exp(np.asarray(params.theta, float))
    place = np.sort((size**2 - 0.25) / (0.81 - 0.25))
    assert place[0] > -1e-5 and place[-1] < 1 + 1e-5
    assert np.abs(place - (np.arange(4000) + 0.5) / 4000).max() < 1.63 / 4000**0.5  # Kolmogorov, 1 % point
    assert phase.min() >= 0 and 0.29 < phase.max() <= 0.3 * (1 + 1e-6) and abs(phase.mean() - 0.15) < 0.01
    np.testing.assert_allclose(np.exp(2 * np.asarray(params.gamma, float)), 1 - size**2, rtol=1e-4)


def test_min_lstm_is_the_papers(float64):
    """Feng et al. (2024), section 3.2, the gates normalized by their sum."""
    draw = np.random.default_rng(0).normal
    W, b = ({gate: draw(size=shape) for gate in "ifg"} for shape in [(D, H), (H,)])

    def step(h, x):
        i, f, g = sigmoid(x @ W["i"] + b["i"]), sigmoid(x @ W["f"] + b["f"]), x @ W["g"] + b["g"]
        h = f / (f + i) * h + i / (f + i) * g
        return h, h

    xs = draw(size=(7, B, D))
    params = MinLSTMParams(*(np.concatenate([of[gate] for gate in "ifg"], -1) for of in (W, b)))
    carry, out = run(min_lstm(H), params, xs)
    close((carry.h, out), looped(step, np.zeros((B, H)), xs))
    shut = params._replace(b=params.b - 1e4 * np.repeat([1, 1, 0], H))  # f and i are zero, f' and i' are not
    assert np.isfinite(run(min_lstm(H), shut, xs)[1]).all()


def test_min_gru_is_the_papers(float64):
    """Feng et al. (2024), section 3.1."""
    draw = np.random.default_rng(0).normal
    W, b = ({gate: draw(size=shape) for gate in "zn"} for shape in [(D, H), (H,)])

    def step(h, x):
        z = sigmoid(x @ W["z"] + b["z"])
        h = (1 - z) * h + z * (x @ W["n"] + b["n"])
        return h, h

    xs = draw(size=(7, B, D))
    params = MinGRUParams(*(np.concatenate([of[gate] for gate in "zn"], -1) for of in (W, b)))
    carry, out = run(min_gru(H), params, xs)
    close((carry.h, out), looped(step, np.zeros((B, H)), xs))


@pytest.mark.parametrize("activation, squash", [("relu", lambda x: np.maximum(x, 0)), ("tanh", np.tanh)])
def test_indrnn_is_the_papers(activation, squash, float64):
    """Li et al. (2018), section 3."""
    draw = np.random.default_rng(0).normal
    W, u, b, xs = draw(size=(D, H)), draw(size=H), draw(size=H), draw(size=(7, B, D))

    def step(h, x):
        h = squash(x @ W + u * h + b)
        return h, h

    carry, out = run(indrnn(H, activation), IndRNNParams(W, u, b), xs)
    close((carry.h, out), looped(step, np.zeros((B, H)), xs))


def test_biases_and_weights_begin_as_they_say():
    long = {"max_lag": 100, "input_init": "uniform"}
    made = [min_gru(5, update_bias=-2.0), min_lstm(5, forget_bias=3.0, input_bias=-1.0)]
    made += [min_lstm(2000, **long), min_gru(2000, **long), indrnn(2000, recurrent_min=0.5, recurrent_max=0.75)]
    begun = jax.tree.map(np.asarray, jax.jit(lambda key: [cell.init(key, 1) for cell in made])(jax.random.key(0)))
    update, candidate = np.split(begun[0].b, 2)
    assert set(update.tolist()) == {-2.0} and not candidate.any()
    i, f, g = np.split(begun[1].b, 3)
    assert set(f.tolist()) == {3.0} and set(i.tolist()) == {-1.0} and not g.any()
    i, f, _ = np.split(begun[2].b, 3)
    np.testing.assert_array_equal(i, -f)
    assert f.min() >= 0 and np.exp(f.max()) <= 99 * (1 + 1e-6) and abs(np.exp(f).mean() - 50) < 3
    update, _ = np.split(begun[3].b, 2)
    assert update.max() <= 0 and abs(np.exp(-update).mean() - 50) < 3
    u = begun[4].u
    assert u.min() >= 0.5 and u.max() <= 0.75 and abs(u.mean() - 0.625) < 0.01


@pytest.mark.parametrize(
    "bad, says",
    [
        ("lru(r_min=0.9, r_max=0.5)", "r_min=0.9, r_max=0.5"),
        ("lru(r_max=1.5)", "r_max=1.5"),
        ("lru(max_phase=0)", "max_phase=0"),
        ("min_lstm(max_lag=2)", "max_lag=2"),
        ("min_gru(max_lag=1)", "max_lag=1"),
        ("indrnn(recurrent_min=2.0)", "recurrent_min=2.0"),
        ("indrnn(activation='softsign')", "'relu'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says):
        spec.build(bad, [cells], Cell)

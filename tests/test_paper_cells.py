"""Cells of single papers against NumPy loops of their equations, and what each of them promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import begin, close, noise, random_params
from paper_loops import LOOPS, plain_slstm_loop
from test_initial_weights import is_chrono

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.irnn import irnn
from seqjax.cells.janet import janet
from seqjax.cells.mgu import mgu
from seqjax.cells.mut1 import mut1
from seqjax.cells.orthogonal_rnn import orthogonal_rnn
from seqjax.cells.preparation import prepared
from seqjax.cells.scaled import scale_paths
from seqjax.cells.slstm import slstm

T, B, D, H = 4, 2, 3, 4


def run(cell, params, xs):
    """Carry and outputs in NumPy; written as in the contract, so that the program is compiled once for both."""
    return jax.tree.map(np.asarray, jax.jit(lambda p, x: unroll(cell, p, x))(params, xs))


TABLE = [
    ("janet", {}),
    ("janet", {"beta": 0.3}),
    ("mgu", {}),
    ("mut1", {}),
    ("cornn", {}),
    ("cornn", {"dt": 0.3, "gamma": 1.5, "epsilon": 0.7, "implicit": True}),
    ("lem", {}),
    ("lem", {"dt": 0.2}),
    ("slstm", {"heads": 2}),
    ("slstm", {"forget_gate": "exponential"}),
    ("orthogonal_rnn", {}),
    ("orthogonal_rnn", {"parametrization": "cayley"}),
    ("irnn", {}),
    ("nru", {}),
]


@functools.cache
def built(name, **options):
    """The cell, one for all tests."""
    return spec.build(spec.Spec(name, {"hidden": H} | options), [cells], Cell)


def looped(step, state, xs):
    """The state after the last step, and the first of its parts at every step."""
    ys = []
    for x in np.asarray(xs):
        state = step(state, x)
        ys.append(state[0])
    return state, np.stack(ys)


@pytest.mark.parametrize("name, options", TABLE, ids=lambda value: value if isinstance(value, str) else str(value))
def test_a_cell_is_its_papers(name, options, float64):
    cell = built(name, **options)
    params, xs = random_params(cell), noise(1, T, B, D)
    start = tuple(np.asarray(leaf) for leaf in cell.initial_carry(params, (B,)))
    options = {key: value for key, value in options.items() if (name, key) != ("slstm", "heads")}
    carry, ys = run(cell, params, xs)
    close((tuple(carry), ys), looped(LOOPS[name](jax.tree.map(np.asarray, params), **options), start, xs))


def test_every_loop_stands_in_the_table():
    assert {name for name, _ in TABLE} == set(LOOPS) <= set(spec.names([cells]))


@pytest.mark.parametrize("options", [{"heads": 2}, {"forget_gate": "exponential"}], ids=str)
def test_the_stabilizer_changes_no_value(options, float64):
    """h as without it; c and n are those without it, divided by e^m."""
    cell = built("slstm", **options)
    params, xs = random_params(cell), noise(1, T, B, D)
    carry, ys = run(cell, params, xs)
    plain = plain_slstm_loop(jax.tree.map(np.asarray, params), options.get("forget_gate", "sigmoid"))
    (h, c, n), expected = looped(plain, (np.zeros((B, H)),) * 3, xs)
    scale = np.exp(carry.m)
    close((carry.h, carry.c * scale, carry.n * scale, ys), (h, c, n, expected))


def test_large_gates_do_not_overflow():
    """Sums of ±300, e^300 being out of float32's range, in all combinations; values and gradients are finite."""
    cell = built("slstm", forget_gate="exponential")
    params = random_params(cell, jnp.float32)
    large = 300.0 * np.array([[1, 1, -1, -1], [1, -1, 1, -1]])
    params.b[: 2 * H] = large.reshape(-1)
    xs = noise(1, T, B, D, dtype=jnp.float32)
    assert np.log(np.finfo(np.float32).max) < 300

    def loss(params, xs):
        carry, ys = unroll(cell, params, xs)
        return jnp.sum(ys**2), (carry, ys)

    slopes, (carry, ys) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((slopes, carry, ys)))
    assert (np.abs(ys) <= 1).all() and np.abs(ys[..., :2]).min() > 0  # what is let in is seen


@pytest.mark.parametrize("options", [{}, {"parametrization": "cayley", "angles": "cayley"}], ids=str)
def test_the_matrix_is_orthogonal_after_an_update(options, float64):
    """As it begins, and after steps along the gradient that are long enough to leave the beginning behind."""
    cell = built("orthogonal_rnn", **options)
    params, xs = jax.tree.map(lambda leaf: leaf.astype(float), begin(cell, D, 0)), noise(1, T, B, D)

    @jax.jit
    def update(params):
        slopes = jax.grad(lambda p: jnp.sum(jnp.sin(unroll(*prepared(cell, p), xs)[1])))(params)
        return jax.tree.map(lambda leaf, slope: leaf - 0.3 * slope, params, slopes), cell.step.prepare(params).w_h

    matrices = []
    for _ in range(3):
        params, w_h = jax.tree.map(np.asarray, update(params))
        np.testing.assert_allclose(w_h @ w_h.T, np.eye(H), atol=1e-13)
        assert np.linalg.det(w_h) > 0
        matrices.append(w_h)
    assert np.abs(matrices[2] - matrices[0]).max() > 0.01


@pytest.mark.parametrize(
    ("parametrization", "angles", "furthest"),
    [
        ("exponential", "henaff", np.pi),
        ("exponential", "cayley", 1.0),  # tan(u / 2), as in its authors' code
        ("cayley", "henaff", np.pi),
        ("cayley", "cayley", np.pi / 2),
    ],
)
def test_the_matrix_turns_by_the_angles_of_the_argument(parametrization, angles, furthest, float64):
    """By angles from 0 to the furthest either way, in pairs, and at an even rate where they are drawn evenly."""
    cell = orthogonal_rnn(201, parametrization, angles)
    params = jax.tree.map(lambda leaf: leaf.astype(float), cell.init(jax.random.key(0), 1))
    found = np.sort(np.abs(np.angle(np.linalg.eigvals(np.asarray(cell.step.prepare(params).w_h)))))
    np.testing.assert_allclose(found[1::2], found[2::2], atol=1e-6)
    assert found[0] < 1e-6 and found[-1] <= furthest + 1e-6
    even = np.linspace(0, furthest, 101)[1:]
    if (parametrization, angles) != ("exponential", "cayley"):
        assert np.abs(found[1::2] - even).max() < 0.2 * furthest
    assert found[-1] > 0.9 * furthest


def test_an_odd_unit_is_left_as_it_is():
    for angles, low, high in [("henaff", -np.pi, np.pi), ("cayley", -1.0, 0.0)]:
        a = np.asarray(orthogonal_rnn(401, angles=angles).init(jax.random.key(0), 1).a)
        above = np.zeros((401, 401))
        above[np.triu_indices(401, 1)] = a
        s = above[np.arange(0, 400, 2), np.arange(1, 401, 2)]
        assert np.count_nonzero(a) == np.count_nonzero(s) == 200
        assert low <= s.min() < low + 0.2 and high - 0.2 < s.max() <= high


def test_a_prepared_cell_gives_the_same_values_and_gradients(float64):
    cell = built("orthogonal_rnn")
    params, xs = random_params(cell), noise(1, T, B, D)

    def whole(prepare):
        def loss(params):
            carry, ys = unroll(*(prepared(cell, params) if prepare else (cell, params)), xs)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(carry.h), ys

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    close(whole(True), whole(False))
    other = built("mgu")
    assert prepared(other, params) == (other, params)


def test_an_ablation_goes_into_a_prepared_step(float64):
    """Wrapped, the step prepares each time, and its values are the same."""
    cell = built("orthogonal_rnn")
    params, xs = random_params(cell), noise(1, T, B, D)
    close(run(scale_paths(cell, h=0.5), params, xs), run(cell, params, xs))


def test_biases_begin_where_they_should():
    made = [
        janet(2000, max_lag=100, recurrent_init="identity"),
        mgu(2000, max_lag=100, recurrent_init="identity"),
        janet(5, forget_bias=3.0, recurrent_init="identity"),
        mgu(5, forget_bias=-2.0, recurrent_init="identity"),
        mut1(5, update_bias=-1.0, recurrent_init="identity"),
        slstm(6, heads=3, forget_bias=4.0, input_bias=-1.0),
        irnn(5),
    ]
    begun = jax.tree.map(np.asarray, jax.jit(lambda key: [cell.init(key, 1) for cell in made])(jax.random.key(0)))
    for bias, sign in [(begun[0].b, 1), (begun[1].b, -1)]:
        gate, candidate = np.split(bias, 2)
        is_chrono(sign * gate, 100)
        assert not candidate.any()
    expected = [[3, 0], [-2, 0], [-1, 0, 0], [-1, 4, 0, 0], [0]]
    for params, blocks in zip(begun[2:], expected):
        np.testing.assert_array_equal(params.b, np.repeat(blocks, params.b.size // len(blocks)))
    np.testing.assert_array_equal(begun[6].w_h, np.eye(5))
    assert begun[5].w_h.shape == (3, 2, 8)
    for head in begun[5].w_h:
        np.testing.assert_allclose(head @ head.T, 4 * np.eye(2), atol=1e-5)


@pytest.mark.parametrize(
    "bad, says",
    [
        ("janet(max_lag=2)", "max_lag=2"),
        ("mgu(max_lag=1)", "max_lag=1"),
        ("cornn(dt=0.0)", "dt=0.0"),
        ("cornn(gamma=-1.0)", "gamma=-1.0"),
        ("lem(dt=0)", "dt=0"),
        ("slstm(hidden=6, heads=4)", "heads=4"),
        ("slstm(heads=0)", "heads=0"),
        ("slstm(forget_gate='relu')", "'exponential'"),
        ("orthogonal_rnn(hidden=1)", "hidden=1"),
        ("orthogonal_rnn(parametrization='qr')", "'cayley'"),
        ("nru(memory=10, heads=1)", "memory=10"),
        ("nru(memory=-1, heads=-1)", "heads=-1"),
        ("irnn(activation='tanh')", "no argument 'activation'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says) as caught:
        spec.build(bad, [cells], Cell)
    assert "\n" not in str(caught.value)

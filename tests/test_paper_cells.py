"""Cells of single papers against NumPy loops of their equations, and what each of them promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from contract import begin, close, noise, random_params
from test_cells import is_chrono

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


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def columns(matrix, names):
    """A matrix's or bias's blocks by name."""
    return dict(zip(names, np.split(np.asarray(matrix), len(names), -1)))


def janet_loop(p, beta=1.0):
    """Van der Westhuizen & Lasenby (2018)."""
    W, U, b = (columns(leaf, "fc") for leaf in p)

    def step(c, x):
        s = x @ W["f"] + c @ U["f"] + b["f"]
        new = np.tanh(x @ W["c"] + c @ U["c"] + b["c"])
        return sigmoid(s) * c + (1 - sigmoid(s - beta)) * new

    return lambda state, x: (step(state[0], x),)


def mgu_loop(p):
    """Zhou et al. (2016)."""
    W, U, b = (columns(leaf, "fh") for leaf in p)

    def step(state, x):
        (h,) = state
        f = sigmoid(x @ W["f"] + h @ U["f"] + b["f"])
        return ((1 - f) * h + f * np.tanh(x @ W["h"] + (f * h) @ U["h"] + b["h"]),)

    return step


def mut1_loop(p):
    """Jozefowicz et al. (2015), with the projection of the input."""
    W, U, b = columns(p.w_x, "zrh"), columns(p.w_h, "rh"), columns(p.b, "zrh")

    def step(state, x):
        (h,) = state
        z = sigmoid(x @ W["z"] + b["z"])
        r = sigmoid(x @ W["r"] + h @ U["r"] + b["r"])
        return (np.tanh((r * h) @ U["h"] + np.tanh(x @ W["h"]) + b["h"]) * z + h * (1 - z),)

    return step


def cornn_loop(p, dt=0.042, gamma=2.7, epsilon=4.7, implicit=False):
    """Rusch & Mishra (2021); the implicit velocity by iterating its equation until it stands still."""

    def step(state, x):
        y, z = state
        rest = z + dt * np.tanh(y @ p.w_h + z @ p.w_z + x @ p.w_x + p.b) - dt * gamma * y
        new = z
        for _ in range(200 if implicit else 1):
            new = rest - dt * epsilon * new
        return y + dt * new, new

    return step


def lem_loop(p, dt=1.0):
    """Rusch et al. (2022)."""
    V, b, W = columns(p.w_x, "12zy"), columns(p.b, "12zy"), columns(p.w_h, "12z")

    def step(state, u):
        y, z = state
        one = dt * sigmoid(y @ W["1"] + u @ V["1"] + b["1"])
        two = dt * sigmoid(y @ W["2"] + u @ V["2"] + b["2"])
        z = (1 - one) * z + one * np.tanh(y @ W["z"] + u @ V["z"] + b["z"])
        return (1 - two) * y + two * np.tanh(z @ p.w_z + u @ V["y"] + b["y"]), z

    return step


def slstm_sums(p, h, x):
    """The four sums, with R as the dense matrix that has its heads on the diagonal."""
    W, b = columns(p.w_x, "ifzo"), columns(p.b, "ifzo")
    R = {gate: scipy.linalg.block_diag(*(columns(head, "ifzo")[gate] for head in p.w_h)) for gate in "ifzo"}
    return tuple(x @ W[gate] + h @ R[gate] + b[gate] for gate in "ifzo")


def slstm_loop(p, forget_gate="sigmoid"):
    """Beck et al. (2024), section 2.2, the stabilized form."""

    def step(state, x):
        h, c, n, m = state
        i, f, z, o = slstm_sums(p, h, x)
        log_f = np.log(sigmoid(f) if forget_gate == "sigmoid" else np.exp(f))
        after = np.maximum(log_f + m, i)
        i, f = np.exp(i - after), np.exp(log_f + m - after)
        c, n = f * c + i * np.tanh(z), f * n + i
        return sigmoid(o) * c / n, c, n, after

    return step


def plain_slstm_loop(p, forget_gate):
    """The same section before stabilization."""

    def step(state, x):
        h, c, n = state
        i, f, z, o = slstm_sums(p, h, x)
        i, f = np.exp(i), (sigmoid(f) if forget_gate == "sigmoid" else np.exp(f))
        c, n = f * c + i * np.tanh(z), f * n + i
        return sigmoid(o) * c / n, c, n

    return step


def skew(a):
    """The skew-symmetric matrix whose entries above the diagonal, row after row, are a."""
    A = np.zeros((H, H))
    for (row, column), entry in zip([(r, c) for r in range(H) for c in range(r + 1, H)], np.asarray(a)):
        A[row, column], A[column, row] = entry, -entry
    return A


def orthogonal_loop(p, parametrization="exponential"):
    """Lezcano-Casado & Martínez-Rubio (2019), the exponential by its power series; Cayley by an inverse."""
    A, W = skew(p.a), np.eye(H)
    if parametrization == "exponential":
        term = np.eye(H)
        for k in range(1, 60):
            term = term @ A / k
            W = W + term
    else:
        W = np.linalg.inv(np.eye(H) - A / 2) @ (np.eye(H) + A / 2)

    def step(state, x):
        v = x @ p.w_x + state[0] @ W
        return (np.where(np.abs(v) + p.b > 0, np.sign(v) * (np.abs(v) + p.b), 0),)

    return step


def irnn_loop(p):
    """Le, Jaitly & Hinton (2015)."""
    return lambda state, x: (np.maximum(x @ p.w_x + state[0] @ p.w_h + p.b, 0),)


def nru_loop(p, memory=64, heads=4):
    """Chandar et al. (2019) as in the authors' code, a sequence and a head at a time."""

    def heads_of(seen, which):
        strengths = np.split(seen @ p.w_strength + p.b_strength, 2)[which]
        first, second = np.split(seen @ p.w_direction + p.b_direction, 4)[2 * which : 2 * which + 2]
        return sum(
            strength * v / np.linalg.norm(v, 5)
            for strength, v in zip(strengths, np.outer(first, second).reshape(heads, memory))
        )

    def step(state, x):
        h = np.maximum(x @ p.w_x + state[0] @ p.w_h + state[1] @ p.w_m + p.b, 0)
        seen = np.concatenate([h, state[1]], 1)
        change = [(heads_of(one, 0) - heads_of(one, 1)) / heads for one in seen]
        return h, state[1] + np.stack(change)

    return step


LOOPS = {
    "janet": janet_loop,
    "mgu": mgu_loop,
    "mut1": mut1_loop,
    "cornn": cornn_loop,
    "lem": lem_loop,
    "slstm": slstm_loop,
    "orthogonal_rnn": orthogonal_loop,
    "irnn": irnn_loop,
    "nru": nru_loop,
}
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


def test_the_angles_are_those_of_the_argument():
    """The eigenvalues of exp(A) are e^±is; an odd unit is left as it is."""
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

"""Cells of single papers as NumPy loops, written from the papers' equations: params -> (state, x) -> state."""

import numpy as np
import scipy.linalg


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
    H = round((1 + (1 + 8 * len(a)) ** 0.5) / 2)
    A = np.zeros((H, H))
    for (row, column), entry in zip([(r, c) for r in range(H) for c in range(r + 1, H)], np.asarray(a)):
        A[row, column], A[column, row] = entry, -entry
    return A


def orthogonal_loop(p, parametrization="exponential"):
    """Lezcano-Casado & Martínez-Rubio (2019), the exponential by its power series; Cayley by an inverse."""
    A = skew(p.a)
    W = identity = np.eye(len(A))
    if parametrization == "exponential":
        term = identity
        for k in range(1, 60):
            term = term @ A / k
            W = W + term
    else:
        W = np.linalg.inv(identity - A / 2) @ (identity + A / 2)

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

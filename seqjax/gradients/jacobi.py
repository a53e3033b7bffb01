"""One-sided Jacobi rotations of vectors whose scales are logarithms: singular values to high relative accuracy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.types import Array

SWEEPS = 30


def orthogonal(vectors: Array, logs: Array) -> tuple[Array, Array]:
    """One-sided Jacobi on the vectors v_i exp(log_i): orthonormal ones and the ln of their singular values.

    Rotates pairs, all disjoint ones at once, until every pair is orthogonal. For unit vectors u, v of
    scales a >= b, with ratio r = b/a and c = u·v, the rotation by t = r τ that makes them orthogonal is

        τ = 2c / (1 - r² + √((1 - r²)² + 4c²r²)),    u' ∝ u + r²τ v,    v' ∝ v - τ u

    in which no scale appears, and which becomes Gram-Schmidt as r goes to 0.
    """
    m, n = vectors.shape
    if m % 2:
        vectors, logs = jnp.pad(vectors, ((0, 1), (0, 0))), jnp.pad(logs, (0, 1), constant_values=-jnp.inf)
    half, eps = (m + 1) // 2, jnp.finfo(vectors.dtype).eps
    turn = np.roll(np.arange(1, 2 * half), 1)
    turn = np.concatenate([[0], turn])

    def rotate(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        (u, a, lost_u), (v, b, lost_v) = ([part[:half] for part in state], [part[half:][::-1] for part in state])
        swap = a < b
        u, v = jnp.where(swap[:, None], v, u), jnp.where(swap[:, None], u, v)
        a, b = jnp.maximum(a, b), jnp.minimum(a, b)
        lost_u, lost_v = jnp.where(swap, lost_v, lost_u), jnp.where(swap, lost_u, lost_v)
        gap = jnp.where(b == -jnp.inf, -jnp.inf, b - a)
        r, c, rest = jnp.exp(gap), jnp.sum(u * v, -1), -jnp.expm1(2 * gap)
        tau = jnp.where(c == 0, 0, 2 * c / (rest + jnp.hypot(rest, 2 * c * r)))
        x, x_log = _unit(u + (r * r * tau)[:, None] * v)
        y, y_log = _unit(v - tau[:, None] * u)
        shrink = 0.5 * jnp.log1p((r * tau) ** 2)
        a, b = a + x_log - shrink, b + y_log - shrink
        # The square of a column's error relative to its length, in units of the first rounding.
        lost_x = jnp.minimum((lost_u + (r * r * tau) ** 2 * lost_v) * jnp.exp(-2 * x_log), eps**-2)
        lost_y = jnp.minimum((lost_v + tau**2 * lost_u) * jnp.exp(-2 * jnp.maximum(y_log, jnp.log(eps))), eps**-2)
        first = (jnp.where(swap[:, None], y, x), jnp.where(swap, b, a), jnp.where(swap, lost_y, lost_x))
        second = (jnp.where(swap[:, None], x, y), jnp.where(swap, a, b), jnp.where(swap, lost_x, lost_y))
        return tuple(jnp.concatenate([one, two[::-1]])[turn] for one, two in zip(first, second))

    def overlap(vectors: Array) -> Array:
        return jnp.max(jnp.abs(jnp.triu(vectors @ vectors.T, 1)))

    def sweep(state: tuple[Array, tuple[Array, Array, Array]]) -> tuple[Array, tuple[Array, Array, Array]]:
        return state[0] + 1, jax.lax.fori_loop(0, 2 * half - 1, rotate, state[1])

    def unfinished(state: tuple[Array, tuple[Array, Array, Array]]) -> Array:
        return (overlap(state[1][0]) > 4 * n**0.5 * eps) & (state[0] < SWEEPS)

    vectors, own = _unit(vectors)
    begin = (jnp.zeros((), jnp.int32), (vectors, logs + own, jnp.ones_like(logs)))
    _, (vectors, logs, lost) = jax.lax.while_loop(unfinished, sweep, begin)
    zero = lost * (4 * n**0.5 * eps) ** 2 > 1
    return jnp.where(zero[:, None], 0, vectors)[:m], jnp.where(zero, -jnp.inf, logs)[:m]


def _unit(vectors: Array) -> tuple[Array, Array]:
    """Vectors of length 1, and the ln of the lengths they had; zeros stay zeros."""
    top = jnp.max(jnp.abs(vectors), -1, keepdims=True)
    scaled = vectors / jnp.where(top == 0, 1, top)
    norm = jnp.linalg.norm(scaled, axis=-1, keepdims=True)
    return scaled / jnp.where(norm == 0, 1, norm), (jnp.log(top) + jnp.log(norm))[..., 0]

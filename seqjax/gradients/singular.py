"""Singular values of products of Jacobians: all of them to high accuracy, or the leading ones without a Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.gradients.jacobi import orthogonal
from seqjax.gradients.jacobians import require_small
from seqjax.gradients.lyapunov import qr
from seqjax.gradients.norms import LN10
from seqjax.gradients.states import ends_of, flat, flat_size, flat_step
from seqjax.types import Array, Direction, PyTree, UserError
from seqjax.unroll.scan import keep_where


class Fan(NamedTuple):
    """Singular values of ∂s_T/∂s_{T-lag} for growing lag.

    lags:  [L] numbers of steps.
    log10: [L, B, k] log10 of the singular values, the largest first. -inf is a zero; NaN where
           the sequence has fewer steps than the lag, or a state among them that is not finite.
    """

    lags: Array
    log10: Array


def singular_values(
    way: Direction,
    carries: PyTree,
    xs: Array,
    lengths: Array | None = None,
    *,
    lags: Sequence[int] | None = None,
    k: int | None = None,
    key: Array | None = None,
    oversample: int = 8,
    iterations: int = 20,
    tolerance: float = 1e-3,
) -> Fan:
    """The singular-value fan: log10 σ_i of ∂s_T/∂s_{T-lag} = J_T J_{T-1} ... J_{T-lag+1}.

    s_T is the carry that leaves a sequence's last step. These are singular values of the product,
    not the diagonal of its QR decomposition, which for non-normal products is another number.

    With k=None, all n of them, each to high relative accuracy: the product is kept as U D with
    orthonormal U and ln D apart; each Jacobian is applied to U alone, and one-sided Jacobi rotations,
    written for columns whose scales are logarithms, make the columns orthogonal again. An error is
    then of the order of ε times the condition numbers of the single Jacobians, summed; the condition
    of the product, which may be 1e500, does not enter. A value that one step takes below its own
    rounding error is zero (-inf). (Bojanczyk, Ewerbring, Luk & Van Dooren 1991; Demmel & Veselić 1992)

    With k, the leading k by subspace iteration from random vectors, which uses products with J and Jᵀ
    only: estimates from below, that rise to the exact values with the iterations, and are exact where
    k + oversample reaches n. Its cost grows with the sum of the lags, so it takes few of them; each lag
    starts at the vectors found for the one before. (Halko, Martinsson & Tropp 2011, section 4.5)

    Args:
        way, carries, xs, lengths: as for `step_jacobians`.
        lags: numbers of steps in the product, growing. None: all from 1 to T, or with k the powers of √2.
        k: how many singular values.
        key: for the random vectors; jax.random.key(0) if None.
        oversample: random vectors beside the k.
        iterations: most passes back and forth over a product.
        tolerance: the passes end once no log10 σ changes by more.

    Raises:
        UserError: k=None for a carry of more than EXACT_LIMIT numbers; k or lags outside of what there is.
    """
    xs, size = jnp.asarray(xs), flat_size(way.cell, way.params)
    steps = xs.shape[0]
    if k is None:
        require_small(way, "; give k=... for the k leading singular values")
    elif not 1 <= k <= size:
        raise UserError(f"k={k}; expected 1 to {size}, the numbers in the carry")
    if lags is None:
        lags = range(1, steps + 1) if k is None else _powers(steps)
    lags = np.asarray(lags)
    whole = lags.size and lags.dtype.kind in "iu"
    if not whole or lags.min() < 1 or lags.max() > steps or np.any(np.diff(lags) < 1):
        raise UserError(f"lags={lags.tolist()}; expected growing whole numbers from 1 to {steps}")
    ends = ends_of(lengths, *xs.shape[:2])
    states, some = flat(carries), jnp.asarray(lags)
    if k is None:
        logs = _all_products(way, states, xs, ends)
        places = _place(way, some[:, None], ends)
        logs = jnp.take_along_axis(logs, jnp.clip(places, 0, steps - 1)[..., None], 0)
    else:
        key = jax.random.key(0) if key is None else key
        logs = _leading(way, states, xs, ends, some, k, min(size, k + oversample), key, iterations, tolerance * LN10)
    return Fan(some, jnp.where((some[:, None] <= ends)[..., None], logs, jnp.nan) / LN10)


def _powers(steps: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 11, 16 ... and the last."""
    count = int(2 * np.log2(steps)) + 1
    return sorted({*(round(2 ** (i / 2)) for i in range(count)), steps})


def _place(way: Direction, lag: Array, ends: Array) -> Array:
    """The step, among [T], that stands `lag` before the carry a sequence ends with."""
    return jnp.broadcast_to(lag - 1, jnp.broadcast_shapes(lag.shape, ends.shape)) if way.reverse else ends - lag


def _all_products(way: Direction, states: Array, xs: Array, ends: Array) -> Array:
    """ln σ [T, B, n] of the product from each step to the sequence's end, largest first."""
    size, dtype = states.shape[-1], _wide(states)
    pull = _pull(way)

    def back(later: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        t, s, x = now
        new = jax.vmap(orthogonal)(pull(s, x, later[0]), later[1])
        kept = jax.tree.map(lambda new, old: keep_where(t < ends, new, old), new, later)
        return kept, -jnp.sort(-kept[1], -1)

    start = jnp.broadcast_to(jnp.eye(size, dtype=dtype), (xs.shape[1], size, size))
    begin = (start, jnp.zeros(start.shape[:2], dtype))
    return jax.lax.scan(back, begin, (jnp.arange(xs.shape[0]), states, xs), reverse=not way.reverse)[1]


def _leading(
    way: Direction,
    states: Array,
    xs: Array,
    ends: Array,
    lags: Array,
    k: int,
    width: int,
    key: Array,
    iterations: int,
    tolerance: float,
) -> Array:
    """ln σ [L, B, k] by subspace iteration with `width` vectors."""
    (batch, size), dtype = states.shape[1:], _wide(states)
    pull, push = _pull(way), _push(way)

    def step(lag: Array) -> tuple[Array, Array]:
        place = jnp.clip(_place(way, lag, ends), 0, states.shape[0] - 1), jnp.arange(batch)
        return states[place], xs[place]

    def there_and_back(state: tuple[Array, ...], lag: Array) -> tuple[Array, ...]:
        count, before, vectors, _ = state
        vectors = jax.lax.fori_loop(0, lag, lambda i, v: _basis(pull(*step(i + 1), v)), vectors)
        forth = lambda i, v: jax.vmap(orthogonal)(push(*step(lag - i), v[0]), v[1])  # noqa: E731
        vectors, logs = jax.lax.fori_loop(0, lag, forth, (vectors, jnp.zeros((batch, width), dtype)))
        order = jnp.argsort(-logs, -1)
        vectors, logs = jnp.take_along_axis(vectors, order[..., None], 1), jnp.take_along_axis(logs, order, 1)[:, :k]
        change = jnp.where(logs == before, 0, jnp.abs(logs - before))
        # not waited for: a sequence without such a lag, or with NaN
        counts = (lag <= ends)[:, None] & ~jnp.isnan(change)
        return count + 1, logs, vectors, jnp.max(jnp.where(counts, change, 0))

    def at(best: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        lag, key = now
        fresh = jax.random.normal(key, (batch, width - k, size), dtype)
        vectors = _basis(jnp.concatenate([best, fresh], 1))
        nothing = jnp.full((batch, k), -jnp.inf, dtype)
        start = (jnp.zeros((), jnp.int32), nothing, vectors, jnp.array(jnp.inf, dtype))
        unfinished = lambda state: (state[0] < iterations) & (state[3] > tolerance)  # noqa: E731
        _, logs, vectors, _ = jax.lax.while_loop(unfinished, lambda state: there_and_back(state, lag), start)
        return vectors[:, :k], logs

    first, *keys = jax.random.split(key, 1 + len(lags))
    return jax.lax.scan(at, jax.random.normal(first, (batch, k, size), dtype), (lags, jnp.stack(keys)))[1]


def _basis(vectors: Array) -> Array:
    """Orthonormal rows [B, m, n] whose span holds the given ones."""
    return jnp.swapaxes(qr(jnp.swapaxes(vectors, -1, -2))[0], -1, -2)


def _wide(states: Array) -> jnp.dtype:
    """What vectors and logarithms are of: a product of a thousand Jacobians is not kept in 16 bits."""
    return jnp.promote_types(states.dtype, jnp.float32)


def _pull(way: Direction) -> Callable[[Array, Array, Array], Array]:
    """(s [B, n], x [B, D], vectors [B, m, n]) -> Jᵀ times each vector."""
    step = flat_step(way.cell, way.params)

    def one(s: Array, x: Array, vectors: Array) -> Array:
        after, pull = jax.vjp(lambda s: step(s, x)[0], s)
        return _unless_lost(s, after, jax.vmap(pull)(vectors.astype(s.dtype))[0].astype(vectors.dtype))

    return jax.vmap(one)


def _push(way: Direction) -> Callable[[Array, Array, Array], Array]:
    """(s [B, n], x [B, D], vectors [B, m, n]) -> J times each vector."""
    step = flat_step(way.cell, way.params)

    def one(s: Array, x: Array, vectors: Array) -> Array:
        after, push = jax.linearize(lambda s: step(s, x)[0], s)
        return _unless_lost(s, after, jax.vmap(push)(vectors.astype(s.dtype)).astype(vectors.dtype))

    return jax.vmap(one)


def _unless_lost(s: Array, after: Array, vectors: Array) -> Array:
    """What came through the step from s to after; NaN where these are not finite: of NaN some slopes are 0."""
    return jnp.where(jnp.all(jnp.isfinite(s) & jnp.isfinite(after)), vectors, jnp.nan)

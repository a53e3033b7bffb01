"""Lyapunov exponents: the rates, per step, at which a driven network pulls its states apart."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.states import ends_of, flat, flat_size, flat_step
from seqjax.types import Array, Direction, PyTree, UserError

WARMUP = 0.1


class Lyapunov(NamedTuple):
    """The k leading exponents, in nats per step.

    exponents: [B, k] of each sequence; NaN for a sequence that ends within the warm-up.
    mean:      [k] over the sequences that go beyond the warm-up.
    running:   [T, k] the mean of what the steps up to t give, in the order in which the cell reads;
               NaN within the warm-up.
    """

    exponents: Array
    mean: Array
    running: Array

    @property
    def maximal(self) -> Array:
        """λ_1, a scalar: below 0 states driven by one input meet, above 0 they part (chaos)."""
        return self.mean[0]


def lyapunov(
    way: Direction,
    carries: PyTree,
    xs: Array,
    lengths: Array | None = None,
    *,
    k: int | None = None,
    warmup: float = 0,
    key: Array | None = None,
) -> Lyapunov:
    """The Lyapunov spectrum along given inputs, by QR decomposition at every step.

        Q_t R_t = J_t Q_{t-1},     λ_i = 1/(T - warmup) Σ_{t > warmup} ln |R_t|_ii,     J_t = ∂s_t/∂s_{t-1}

    Q [n, k] begins at random. J_t Q is k Jacobian-vector products: no Jacobian is formed, at any n.
    The exponents are time averages of the diagonals of R. As T grows they become the growth rates of
    the singular values of the product of the Jacobians; at a finite T they are estimates of them, and
    not these singular values, which are in `singular_values`. All n of them sum to the mean ln |det J_t|
    at any T. An exponent is -inf where some step is singular: its column of J_t Q has nothing left
    beyond rounding. -1/λ_1 is the memory's time constant in steps, where λ_1 < 0.
    (Benettin et al. 1980; Engelken, Wolf & Abbott 2023; Vogt et al. 2022)

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        lengths: [B] steps that exist; the others are left out of the averages.
        k: how many exponents; None for all n.
        warmup: steps at a sequence's beginning over which Q turns to the leading directions and
            which are left out of the averages; below 1 the share of the sequence's steps, rounded down.
            Without it the share that a random direction has of the leading one counts too, about
            1/√n, which makes λ_1 low by some ln n / (2T) nats. WARMUP is what `probe` and `flow` take.
        key: for Q; jax.random.key(0) if None.

    Raises:
        UserError: k or warmup outside of what there is, or a carry that is not of floating point.
    """
    size, steps = flat_size(way.cell, way.params), xs.shape[0]
    k = size if k is None else k
    if not 1 <= k <= size:
        raise UserError(f"k={k}; expected 1 to {size}, the numbers in the carry")
    if not 0 <= warmup < steps or (warmup > 1 and warmup != int(warmup)):
        raise UserError(
            f"warmup={warmup}; expected whole steps up to {steps - 1}, less than the number of steps, "
            "or a share of them, from 0 to below 1"
        )
    states, batch = flat(carries), xs.shape[1]
    step = flat_step(way.cell, way.params)
    rounding = 4 * size**0.5 * jnp.finfo(states.dtype).eps
    ends, wide = ends_of(lengths, steps, batch), jnp.promote_types(states.dtype, jnp.float32)  # of sums over time
    first = jnp.floor(warmup * ends) if warmup < 1 else warmup

    @jax.vmap
    def turn(s: Array, x: Array, q: Array) -> tuple[Array, Array]:
        after, tangent = jax.linearize(lambda s: step(s, x)[0], s)
        q, r = orthonormal(jax.vmap(tangent, 1, 1)(q))
        stretch = jnp.abs(jnp.diagonal(r))
        logs = jnp.log(stretch.astype(wide))
        logs = jnp.where(stretch <= rounding * jnp.linalg.norm(r, axis=0), -jnp.inf, logs)
        finite = jnp.all(jnp.isfinite(s) & jnp.isfinite(after))  # of NaN some activations have a slope of 0
        return q, jnp.where(finite, logs, jnp.nan)

    def forward(
        before: tuple[Array, Array, Array], now: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        q, total, count = before
        t, s, x = now
        turned, logs = turn(s, x, q)
        valid = t < ends
        read = ends - 1 - t if way.reverse else t  # steps that the cell has read before this one
        counted = (valid & (read >= first))[:, None]
        total, count = jnp.where(counted, total + logs, total), count + counted
        return (jnp.where(valid[:, None, None], turned, q), total, count), (total, count)

    q = jax.random.normal(jax.random.key(0) if key is None else key, (batch, size, k), states.dtype)
    start = (orthonormal(q)[0], jnp.zeros((batch, k), wide), jnp.zeros((batch, 1), jnp.int32))
    _, (totals, counts) = jax.lax.scan(forward, start, (jnp.arange(steps), states, xs), reverse=way.reverse)
    each = jnp.where(counts > 0, totals / jnp.maximum(counts, 1), jnp.nan)  # [T, B, k]
    running = jnp.mean(each, 1, where=counts > 0)
    if way.reverse:
        each, running = each[::-1], running[::-1]
    return Lyapunov(each[-1], running[-1], running)


def qr(vectors: Array) -> tuple[Array, Array]:
    """Q R of [..., n, k], which LAPACK has of no fewer than 32 bits."""
    wide = vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))
    return tuple(part.astype(vectors.dtype) for part in jnp.linalg.qr(wide))


def orthonormal(vectors: Array) -> tuple[Array, Array]:
    """Q R of [..., n, k]; a single vector is only divided by its length, which needs no LAPACK."""
    if vectors.shape[-1] > 1:
        return qr(vectors)
    top = jnp.max(jnp.abs(vectors), -2, keepdims=True)
    safe = jnp.where(top > 0, top, 1)
    length = safe * jnp.linalg.norm(vectors / safe, axis=-2, keepdims=True)
    return vectors / jnp.where(length > 0, length, 1), length

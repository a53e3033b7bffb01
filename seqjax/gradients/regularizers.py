"""Loss terms that keep the gradient alive: the vanishing-gradient penalty, and gradient flossing."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.cells.carries import require_floats
from seqjax.gradients.lyapunov import qr
from seqjax.gradients.scaled import Scaled
from seqjax.gradients.states import ends_of, flat, flat_size, flat_step, read_after
from seqjax.types import Array, Direction, PyTree, UserError
from seqjax.unroll.scan import keep_where, zero_unless


def vanishing_penalty(
    way: Direction, carries: PyTree, xs: Array, deltas: Scaled, lengths: Array | None = None
) -> Array:
    """Ω: how far each step is from keeping the norm of the gradient that passes through it.

        Ω = mean over sequences of Σ_t (‖J_tᵀ d_t‖ / ‖d_t‖ - 1)²,    J_t = ∂s_t/∂s_{t-1},    d_t = dL/ds_t

    Differentiate it with respect to the parameters in `way`: the states s_{t-1}, the inputs and d_t
    are constants, and the parameters act through J_t alone. This is the paper's "immediate" partial
    derivative, ∂⁺Ω/∂θ. (Pascanu, Mikolov & Bengio 2013, eq. 9-10)

    Here d_t is the gradient of all that comes after step t, the outputs from y_{t+1} on; the paper's
    also has that of y_t, which for a cell in general is no function of s_t. So the last valid step,
    and every other after which no loss comes (d_t = 0), has no term. The paper's state is h; here
    it is the whole carry.

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        deltas: dL/ds_{t-1}, as `adjoints` or `model_adjoints` give them; their scale does not matter.
        lengths: [B] steps that exist.

    Raises:
        UserError: a carry that is not of floating point.
    """
    require_floats(carries)
    carries, xs, delta = jax.lax.stop_gradient((carries, xs, flat(deltas.value)))
    later = read_after(delta, way.reverse)
    top = jnp.max(jnp.abs(later), -1, keepdims=True)
    u = later / jnp.where(top == 0, 1, top)
    length = jnp.linalg.norm(u, axis=-1, keepdims=True)
    u = u / jnp.where(length == 0, 1, length)
    if lengths is not None:
        valid = jnp.arange(xs.shape[0])[:, None] < jnp.asarray(lengths)
        xs, u = zero_unless(valid, xs), zero_unless(valid, u)
    step = flat_step(way.cell, way.params)

    def ratio(s: Array, x: Array, u: Array) -> Array:
        after, pull = jax.vjp(lambda s: step(s, x)[0], s)
        square = jnp.sum(pull(u.astype(after.dtype))[0] ** 2)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    ratios = jax.vmap(jax.vmap(ratio))(flat(carries), xs, u)
    terms = jnp.where(jnp.any(u != 0, -1), (ratios - 1) ** 2, 0)
    return jnp.mean(jnp.sum(terms, 0))


def gradient_flossing(
    way: Direction, carries: PyTree, xs: Array, k: int, key: Array, lengths: Array | None = None
) -> Array:
    """Σ of the squares of the k leading Lyapunov exponents, which flossing drives to zero.

        R = mean over sequences of Σ_{i<=k} λ_i²,    λ_i = 1/T Σ_t ln |(R_t)_ii|,    Q_t R_t = J_t Q_{t-1}

    The exponents are those of one sequence over its own T valid steps, from the k random
    orthonormal vectors Q_0 on. It is differentiable through the QR decompositions and, as the
    carries are those of the same parameters, through the states: give `carries` of the parameters
    that are differentiated. (Engelken 2023, "Gradient flossing")

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        k: number of exponents. A Jacobian of a rank below k has an exponent of -inf, and no gradient.
        key: for Q_0.
        lengths: [B] steps that exist.

    Raises:
        UserError: k below 1 or above the numbers in the carry, or a carry that is not of floating point.
    """
    size = flat_size(way.cell, way.params)
    if not 1 <= k <= size:
        raise UserError(f"k={k}; expected 1 to {size}, the numbers in the carry")
    states, (steps, batch) = flat(carries), xs.shape[:2]
    lengths = None if lengths is None else jnp.asarray(lengths)
    step = flat_step(way.cell, way.params)
    q = qr(jax.random.normal(key, (batch, size, k), states.dtype))[0]

    def push(s: Array, x: Array, q: Array) -> Array:
        return jax.vmap(jax.linearize(lambda s: step(s, x)[0], s)[1], 1, 1)(q)

    def body(so_far: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        q, total = so_far
        t, s, x = now
        # At a step that is not there, q takes the place of J q: its QR is plain, its gradient zero.
        valid = None if lengths is None else t < lengths
        if valid is not None:
            s, x = zero_unless(valid, s), zero_unless(valid, x)
        z = jax.vmap(push)(s, x, q)
        z = z if valid is None else keep_where(valid, z, q)
        q, r = qr(z)
        return (q, total + jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)).astype(wide))), None

    wide = jnp.promote_types(states.dtype, jnp.float32)  # of sums over time
    begin = (q, jnp.zeros((batch, k), wide))
    (_, total), _ = jax.lax.scan(body, begin, (jnp.arange(steps), states, xs), reverse=way.reverse)
    exponents = total / ends_of(lengths, steps, batch)[:, None]
    return jnp.mean(jnp.sum(exponents**2, -1))

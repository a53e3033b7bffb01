"""Jacobians of the steps, and the adjoints a second way: by a scan over them that is parallel in time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.gradients.scaled import Scaled, rescaled, share_scale
from seqjax.gradients.states import flat, flat_size, flat_step
from seqjax.types import Array, Direction, PyTree, UserError
from seqjax.unroll.scan import keep_where

EXACT_LIMIT = 128  # numbers in a carry; above it dense Jacobians are not made


def step_jacobians(way: Direction, carries: PyTree, xs: Array, lengths: Array | None = None) -> Array:
    """J_t = ∂s_t/∂s_{t-1} of every step [T, B, n, n], rows the carry leaving, columns that entering step t.

    The n numbers are those of the carry, component after component. At the steps past a sequence's
    length, where the carry stands still, it is the identity.

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        lengths: [B] steps that exist.

    Raises:
        UserError: a carry of more than EXACT_LIMIT numbers, or not of floating point.
    """
    require_small(way)
    step = flat_step(way.cell, way.params)
    jacobian = jax.vmap(jax.vmap(jax.jacfwd(lambda s, x: step(s, x)[0])))(flat(carries), xs)
    return _keep_valid(jacobian, jnp.eye(jacobian.shape[-1], dtype=jacobian.dtype), lengths)


def adjoints_by_scan(
    way: Direction, carries: PyTree, xs: Array, ys_bar: Scaled, lengths: Array | None = None
) -> Scaled:
    """The adjoints of `adjoints`, by a scan that is parallel in time over dense Jacobians.

        δ_t = J_tᵀ δ_{t+1} + b_t,    b_t = (∂y_t/∂s_{t-1})ᵀ ∂L/∂y_t,    δ_t = dL/ds_{t-1}
        (A, b) after (A', b') is (A A', A b' + b)

    The second equation is associative, which `jax.lax.associative_scan` needs. O(T n³) operations
    in O(log T) depth, each map rescaled so that nothing underflows. (Blelloch 1990)

    Args:
        way, carries, xs, lengths: as for `step_jacobians`.
        ys_bar: ∂L/∂y_t, value [T, B, H], log [T, B].

    Returns:
        δ, value [T, B, n] with the carry's components one after another, log [T, B].

    Raises:
        UserError: as `step_jacobians`.
    """
    jacobian = step_jacobians(way, carries, xs, lengths)
    step = flat_step(way.cell, way.params)

    def own(s: Array, x: Array, y_bar: Array) -> Array:
        y, pull = jax.vjp(lambda s: step(s, x)[1], s)
        return pull(y_bar.astype(y.dtype))[0]

    b = jax.vmap(jax.vmap(own))(flat(carries), xs, ys_bar.value)
    maps = rescaled(Scaled(jnp.swapaxes(jacobian, -1, -2), jnp.zeros_like(ys_bar.log)))
    pushes = rescaled(Scaled(_keep_valid(b, jnp.zeros_like(b), lengths), ys_bar.log))

    def compose(first: tuple[Scaled, Scaled], then: tuple[Scaled, Scaled]) -> tuple[Scaled, Scaled]:
        (a1, b1), (a2, b2) = first, then
        product = rescaled(Scaled(a2.value @ a1.value, a1.log + a2.log))
        moved = Scaled((a2.value @ b1.value[..., None])[..., 0], a2.log + b1.log)
        parts, log = share_scale(moved, b2)
        return product, Scaled(sum(parts), log)

    deltas = jax.lax.associative_scan(compose, (maps, pushes), reverse=not way.reverse)[1]
    return deltas._replace(value=_keep_valid(deltas.value, jnp.zeros_like(b), lengths))


def require_small(
    way: Direction, instead: str = "; products with them, as in adjoints and singular_values(k=...), have no limit"
) -> None:
    """Raises UserError where dense Jacobians of the cell's carry would be too large, with what to take `instead`."""
    size = flat_size(way.cell, way.params)
    if size > EXACT_LIMIT:
        raise UserError(f"a carry of {size} numbers; dense Jacobians are for at most {EXACT_LIMIT}{instead}")


def _keep_valid(values: Array, other: Array, lengths: Array | None) -> Array:
    """values [T, B, ...] at the steps that exist, the other elsewhere."""
    if lengths is None:
        return values
    valid = jnp.arange(values.shape[0])[:, None] < jnp.asarray(lengths)
    return keep_where(valid, values, jnp.broadcast_to(other, values.shape))

"""The curse of memory: how sensitive the states are to the parameters, step by step along the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.gradients.norms import LN10, components, log_mean
from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.gradients.states import flat, flat_size, flat_step
from seqjax.types import Array, Direction, PyTree, UserError
from seqjax.unroll.scan import keep_where

SENSITIVITY_LIMIT = 2**20  # numbers in ∂s/∂θ of one sequence


class Sensitivities(NamedTuple):
    """log10 of mean squares over the sequences that have the step, after each step t; NaN where there is none.

    states:     component of the carry -> [T] log10 E‖s_t‖²
    parameters: 'component/parameter' -> [T] log10 E‖∂s_t/∂θ‖², the Frobenius norm
    """

    states: dict[str, Array]
    parameters: dict[str, Array]


def sensitivities(
    way: Direction,
    carries: PyTree,
    xs: Array,
    lengths: Array | None = None,
    *,
    leaves: Sequence[str] | None = None,
) -> Sensitivities:
    """How much the states move with the parameters, for any cell.

        S_t = J_t S_{t-1} + ∂s_t/∂θ|_direct,    S_t = ∂s_t/∂θ [n, P],    J_t = ∂s_t/∂s_{t-1},    S = 0 at the start

    exactly, by the forward recursion of real-time recurrent learning, rescaled at every step so that
    nothing overflows. As a network's memory gets longer the states may stay of one size while S grows:
    the curse of memory. Step t is the place of x_t, also where the cell reads backwards.
    (Zucchet & Orvieto 2024; Williams & Zipser 1989)

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives;
            the first of them is taken not to depend on the parameters.
        xs: inputs [T, B, D].
        lengths: [B] steps that exist.
        leaves: names of the parameters to take, as ['w_h']; None for all, [] for the states alone.

    Raises:
        UserError: n times P beyond SENSITIVITY_LIMIT, an unknown name, or a carry not of floating point.
    """
    named, size = components(way.params, "params"), flat_size(way.cell, way.params)
    lengths = None if lengths is None else jnp.asarray(lengths)
    chosen = list(named) if leaves is None else list(leaves)
    for name in chosen:
        if name not in named:
            raise UserError(f"leaves={chosen}: no parameter {name!r}; parameters: {', '.join(named)}")
    count = sum(named[name].size for name in chosen)
    if size * count > SENSITIVITY_LIMIT:
        raise UserError(
            f"{size} numbers in the carry times {count} parameters is {size * count}; at most {SENSITIVITY_LIMIT} "
            "are computed: take a smaller hidden=..., or some of the parameters by leaves=[...]"
        )
    form, states = jax.tree.structure(way.params), flat(carries)
    picked = {name: named[name] for name in chosen}
    one = jax.tree.map(lambda leaf: leaf[0, 0], carries)
    widths = np.cumsum([leaf.size for leaf in jax.tree.leaves(one)])[:-1]

    def after(picked: dict[str, Array], s: Array, x: Array) -> Array:
        params = jax.tree.unflatten(form, list((named | picked).values()))
        return flat_step(way.cell, params)(s, x)[0]

    @jax.vmap
    def grow(s: Array, x: Array, before: dict[str, Array]) -> tuple[Array, dict[str, Array], dict[str, Array]]:
        new, own = after(picked, s, x), jax.jacrev(after)(picked, s, x)
        tangent = jax.linearize(lambda s: after(picked, s, x), s)[1]
        flow = jax.tree.map(lambda leaf: jax.vmap(tangent, 1, 1)(leaf.reshape(size, -1)), before)
        return new, jax.tree.map(lambda leaf, form: leaf.reshape(form.shape), flow, own), own

    def forward(before: Scaled, now: tuple[Array, Array, Array]) -> tuple[Scaled, tuple[Array, dict[str, Array]]]:
        t, s, x = now
        new, flow, own = grow(s, x, before.value)
        (flow, own), log = share_scale(Scaled(flow, before.log), Scaled(own, jnp.zeros_like(before.log)))
        grown = Scaled(jax.tree.map(jnp.add, flow, own), log)
        if lengths is not None:
            grown = jax.tree.map(lambda new, old: keep_where(t < lengths, new, old), grown, before)
        parts = {name: jnp.split(leaf, widths, 1) for name, leaf in grown.value.items()}
        logs = {
            f"{part}/{name}": log_norm(rows[place], grown.log)
            for name, rows in parts.items()
            for place, part in enumerate(components(one))
        }
        return grown, (new, logs)

    batch = xs.shape[1]
    zero = {name: jnp.zeros((batch, size, *leaf.shape), leaf.dtype) for name, leaf in picked.items()}
    start, steps = Scaled(zero, jnp.zeros(batch, states.dtype)), jnp.arange(xs.shape[0])
    if chosen:
        _, (left, logs) = jax.lax.scan(forward, start, (steps, states, xs), reverse=way.reverse)
    else:
        left, logs = jax.vmap(jax.vmap(lambda s, x: after({}, s, x)))(states, xs), {}
    zeros = jnp.zeros(left.shape[:2], left.dtype)
    sizes = {part: log_norm(leaf, zeros) for part, leaf in zip(components(one), jnp.split(left, widths, -1))}
    valid = jnp.ones(left.shape[:2], bool) if lengths is None else steps[:, None] < lengths

    def log10_mean_square(log: Array) -> Array:
        return log_mean(2 * log, valid) / LN10

    return Sensitivities(*jax.tree.map(log10_mean_square, (sizes, logs)))


def scalar_recurrence(decay: Array, steps: int | None = None) -> tuple[Array, Array]:
    """E h_t² and E (∂h_t/∂λ)² of h_t = λ h_{t-1} + x_t, h_0 = 0, with white inputs of variance 1.

        h_t = Σ_j λ^j x_{t-j},    ∂h_t/∂λ = Σ_j j λ^(j-1) x_{t-j},    j = 0 ... t-1,    q = λ²
        E h_t²        = (1 - q^t) / (1 - q)                                                  ->  1 / (1 - q)
        E (∂h_t/∂λ)²  = (1 + q - q^(t-1) (t² - (2t² - 2t - 1) q + (t-1)² q²)) / (1 - q)³     ->  (1 + q) / (1 - q)³

    As λ goes to 1 the sensitivity grows as twice the cube of the state's variance. Finite t are summed term
    by term, where nothing cancels, so that λ = 1 and beyond are right too. (Zucchet & Orvieto 2024, for the
    limit; the finite sums are ours)

    Args:
        decay: λ, real [...].
        steps: T, to get t = 1 ... T; None for the limit, which is infinite where |λ| >= 1.

    Returns:
        Both, [T, ...] or, without steps, [...].

    Raises:
        UserError: fewer than one step.
    """
    decay = jnp.asarray(decay, float)
    if steps is None:
        rest = jnp.maximum((1 - decay) * (1 + decay), 0)
        return 1 / rest, (1 + decay**2) / rest**3
    if steps < 1:
        raise UserError(f"steps={steps}; expected at least 1")
    j = jnp.arange(steps, dtype=decay.dtype).reshape(-1, *(1,) * decay.ndim)
    before = jnp.maximum(j - 1, 0)  # the term of j = 0 is zero whatever the power
    return jnp.cumsum(decay ** (2 * j), 0), jnp.cumsum((j * decay**before) ** 2, 0)

"""Real-time recurrent learning: the exact gradient forwards in time, for small networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from seqjax.cells.carries import require_floats
from seqjax.gradients.states import flat, flat_step
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.scan import keep_where, zero_unless

LIMIT = 50_000_000  # numbers in the influence matrices of all sequences: 200 MB in float32


class Influence(NamedTuple):
    """Where a sequence stands, and how every parameter moved it there; |θ| numbers in all parameters.

    state:  [B, n] the carry s_t, its components one after another
    matrix: [B, n, |θ|] ds_t/dθ, through all the steps so far
    """

    state: Array
    matrix: Array


def rtrl_start(cell: Cell, params: PyTree, batch_size: int) -> Influence:
    """The initial carry of B sequences, and what the parameters have to do with it (most often nothing).

    Raises:
        UserError: B · n · |θ| above LIMIT, or a carry that is not of floating point.
    """
    carry, shapes = jax.eval_shape(lambda params: (cell.initial_carry(params, (batch_size,)), params), params)
    require_floats(carry)
    n = sum(leaf.size for leaf in jax.tree.leaves(carry)) // batch_size
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    if batch_size * n * count > LIMIT:
        raise UserError(
            f"{batch_size} sequences x {n} numbers in the carry x {count} parameters; RTRL keeps at most {LIMIT} "
            "numbers: take fewer sequences or units, or backpropagation"
        )
    theta, restore = ravel_pytree(params)
    start = lambda theta: flat(cell.initial_carry(restore(theta), (batch_size,)), 1)  # noqa: E731
    return Influence(start(theta), jax.jacfwd(start)(theta))


def rtrl_step(
    cell: Cell,
    params: PyTree,
    before: Influence,
    x: Array,
    target: PyTree,
    loss: Callable[[Array, PyTree], Array],
    valid: Array | None = None,
) -> tuple[Influence, Array, PyTree]:
    """One step online: the gradient of this step's loss with respect to all that led to it, at once.

        P_t     = ∂s_t/∂s_{t-1} P_{t-1} + ∂s_t/∂θ                    P_t = ds_t/dθ
        dL_t/dθ = ∂L_t/∂y_t (∂y_t/∂s_{t-1} P_{t-1} + ∂y_t/∂θ)

    O(n² |θ|) operations a step and sequence and O(n |θ|) memory, whatever the number of steps. If
    the parameters are changed between steps, P is that of the parameters as they were, the
    approximation of online learning. (Williams & Zipser 1989)

    Args:
        cell, params: the cell and its parameters.
        before: what the step before gave, or `rtrl_start`.
        x: inputs [B, D].
        target: a pytree, leaves [B, ...].
        loss: (y [H], target of one sequence) -> scalar.
        valid: [B] whether a sequence has this step; None for all.

    Returns:
        The Influence after the step, the loss and its gradient, both summed over the sequences.
    """
    theta, restore = ravel_pytree(params)

    def one(influence: Influence, x: Array, target: PyTree) -> tuple[Influence, Array, Array]:
        s, matrix = influence

        def step(theta: Array, s: Array) -> tuple[Array, Array]:
            after, y = flat_step(cell, restore(theta))(s, x)
            both = jnp.append(after, loss(y, target))
            return both, both

        (by_theta, by_state), both = jax.jacrev(step, (0, 1), has_aux=True)(theta, s)
        total = by_state @ matrix + by_theta
        return Influence(both[:-1], total[:-1]), both[-1], total[-1]

    after, values, gradients = jax.vmap(one)(before, x, target)
    if valid is not None:
        after = jax.tree.map(lambda new, old: keep_where(valid, new, old), after, before)
        values, gradients = zero_unless(valid, values), zero_unless(valid, gradients)
    return after, jnp.sum(values), restore(jnp.sum(gradients, 0))


def rtrl(
    cell: Cell,
    params: PyTree,
    xs: Array,
    targets: PyTree,
    loss: Callable[[Array, PyTree], Array],
    lengths: Array | None = None,
) -> tuple[Array, PyTree]:
    """The exact gradient of L = Σ_t Σ_b loss(y_tb, target_tb), without a backward pass over time.

    Args:
        cell, params: the cell and its parameters.
        xs: inputs [T, B, D].
        targets: a pytree, leaves [T, B, ...].
        loss: (y [H], target of one sequence and step) -> scalar.
        lengths: [B] steps that exist; the others count nothing.

    Returns:
        L and dL/dθ, as `jax.value_and_grad` through `unroll` would give them.

    Raises:
        UserError: as `rtrl_start`.
    """
    begin = rtrl_start(cell, params, xs.shape[1])
    lengths = None if lengths is None else jnp.asarray(lengths)
    zeros = jax.tree.map(jnp.zeros_like, params)

    def body(so_far: tuple[Influence, PyTree], now: tuple[Array, Array, PyTree]) -> tuple[tuple, Array]:
        influence, total = so_far
        t, x, target = now
        valid = None if lengths is None else t < lengths
        if valid is not None:
            x = zero_unless(valid, x)
        influence, value, gradient = rtrl_step(cell, params, influence, x, target, loss, valid)
        return (influence, jax.tree.map(jnp.add, total, gradient)), value

    (_, gradient), values = jax.lax.scan(body, (begin, zeros), (jnp.arange(xs.shape[0]), xs, targets))
    return jnp.sum(values), gradient

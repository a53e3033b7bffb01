"""All steps of any cell at once, by Newton iterations on the whole trajectory: DEER, quasi-DEER, damped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.carries import changes_backwards, require_floats
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.recurrence import linear_recurrence
from seqjax.unroll.scan import scan
from seqjax.unroll.side_by_side import Steps, entering, largest, outcome, side_by_side
from seqjax.unroll.trajectory import (
    Kind,
    carries_of,
    jacobians,
    matrix_recurrence,
    require_narrow,
    solution,
    taken,
    vectors_of,
)


class NewtonResult(NamedTuple):
    """What `unroll` gives, and how the iterations went."""

    carry: PyTree
    ys: PyTree
    iterations: Array  # [] how many were made
    residual: Array  # [] max |f(s_{t-1}) - s_t| / (1 + |s_t|) over steps, sequences and units at the end
    converged: Array  # [] residual <= tolerance; if not, carry and ys are those of the plain scan


def newton(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree | None = None,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
    nudge: PyTree | None = None,
    jacobian: Kind = "full",
    damping: float = 0.0,
    tolerance: float | None = None,
    max_iterations: int = 100,
) -> NewtonResult:
    """Solve s_t = f(s_{t-1} + nudge_t, x_t) for all t together, and say how that went.

        r_t = f(s_{t-1} + nudge_t, x_t) - s_t               all t at once
        δ_t = (1 - damping) J_t δ_{t-1} + r_t               one linear recurrence, J_t = ∂f/∂s_{t-1}
        s_t <- s_t + δ_t

    With full Jacobians it is DEER (Lim et al. 2024, "Parallelizing non-linear sequential models over the
    sequence length", section 3), with their diagonals quasi-DEER (Gonzalez et al. 2024, "Towards scalable
    and stable parallelization of nonlinear RNNs", section 4.1). The damping is that paper's scale-ELK
    (appendix A.4), 0 for Newton and 1 for one step of every state at a time; ELK proper, a Kalman smoother with a
    trust region, is not here. The iterations begin at s_t = f(0, x_t). After k iterations the first k states are right
    whatever J_t is, so that unstable networks need as many iterations as steps: then the plain scan takes
    over (`jax.lax.cond`; under vmap both run and one is kept).

    The gradient is that of the solution and not of the iterations, exact to the accuracy of the
    states and for any order: ṡ_t = J_t ṡ_{t-1} + ḟ_t with the exact Jacobians, in one linear
    recurrence up to a carry of 128 numbers, step by step beyond.

    Args:
        cell, params, xs, carry, lengths, reverse, nudge: as in `unroll`.
        jacobian: 'full' keeps n² numbers a step for a carry of n, 'diagonal' n.
        damping: share of the Jacobians left out, from 0 to 1.
        tolerance: largest residual that counts as converged, below 1; None for ε^0.8 of the carry's dtype,
            3e-13 in float64, 3e-6 in float32, 2e-2 in bfloat16.
        max_iterations: after which the plain scan takes over.

    Raises:
        UserError: a carry of more than 128 numbers with full Jacobians, or that is not of floating point; a cell that
            changes its gradient on the way back; or an option out of bounds.
    """
    if carry is None:
        carry = cell.initial_carry(params, xs.shape[1:-1])
    lengths = None if lengths is None else jnp.minimum(jnp.asarray(lengths), xs.shape[0])
    if jacobian not in ("full", "diagonal"):
        raise UserError(f"jacobian={jacobian!r}; expected 'full' or 'diagonal'")
    if not 0 <= damping <= 1:
        raise UserError(f"damping={damping}; expected from 0 to 1")
    if tolerance is not None and not 0 < tolerance < 1:
        raise UserError(f"tolerance={tolerance}; expected more than 0, less than 1")
    if max_iterations < 0:
        raise UserError(f"max_iterations={max_iterations}; expected at least 0")
    require_floats(carry)
    if changes_backwards(cell.step, params, carry, jnp.zeros(xs.shape[1:], xs.dtype)):
        raise UserError("the cell changes its gradient on the way back, as clipped does, and Newton's steps need its "
                        "Jacobians: expected 'scan', 'checkpointed' or 'truncated'")  # fmt: skip
    if jacobian == "full":
        require_narrow(carry, xs)
    dtype = jnp.result_type(*jax.tree.leaves(carry))
    if tolerance is None:
        tolerance = float(jnp.finfo(dtype).eps) ** 0.8
    if xs.shape[0] == 0:
        nothing = scan(cell, params, xs, carry, lengths, reverse, nudge)
        return NewtonResult(*nothing, jnp.zeros((), jnp.int32), jnp.zeros((), dtype), jnp.array(True))
    steps = side_by_side(xs, lengths, reverse, nudge)
    fixed = jax.lax.stop_gradient((params, carry, steps))
    found, iterations, residual = _iterate(cell, jacobian, damping, tolerance, max_iterations, *fixed)
    converged = residual <= tolerance

    def parallel() -> tuple[PyTree, PyTree]:
        states = solution(cell, params, carry, steps, found)
        leaving, ys = taken(cell, params, steps, entering(steps, carry, states))
        return outcome(steps, carry, leaving, ys, lengths, reverse)

    def plain() -> tuple[PyTree, PyTree]:
        return scan(cell, params, xs, carry, lengths, reverse, nudge)

    return NewtonResult(*jax.lax.cond(converged, parallel, plain), iterations, residual, converged)


def _iterate(
    cell: Cell,
    jacobian: Kind,
    damping: float,
    tolerance: float,
    max_iterations: int,
    params: PyTree,
    carry: PyTree,
    steps: Steps,
) -> tuple[PyTree, Array, Array]:
    """The carries that leave each step [T, ...], the number of iterations, the residual."""

    def leaving(states: PyTree) -> PyTree:
        return taken(cell, params, steps, entering(steps, carry, states))[0]

    def residual(after: PyTree, states: PyTree) -> Array:
        parts = jax.tree.map(lambda f, s: jnp.abs(f - s) / (1 + jnp.abs(s)), after, states)
        return largest(vectors_of(parts, steps))

    def goes_on(so_far: tuple[Array, PyTree, PyTree, Array]) -> Array:
        count, _, _, gap = so_far
        return (gap > tolerance) & (count < max_iterations)  # NaN ends it

    def iterate(so_far: tuple[Array, PyTree, PyTree, Array]) -> tuple[Array, PyTree, PyTree, Array]:
        count, states, after, _ = so_far
        slopes = (1 - damping) * jacobians(cell, jacobian, params, steps, entering(steps, carry, states))
        gap = vectors_of(jax.tree.map(jnp.subtract, after, states), steps)
        moved = (
            linear_recurrence(jnp.multiply, slopes, gap) if jacobian == "diagonal" else matrix_recurrence(slopes, gap)
        )
        states = jax.tree.map(jnp.add, states, carries_of(moved, states, steps))
        after = leaving(states)
        return count + 1, states, after, residual(after, states)

    start = leaving(jax.tree.map(lambda leaf: jnp.zeros((*steps.valid.shape[:1], *leaf.shape), leaf.dtype), carry))
    after = leaving(start)
    begin = (jnp.zeros((), jnp.int32), start, after, residual(after, start))
    count, _, after, gap = jax.lax.while_loop(goes_on, iterate, begin)
    return after, count, gap


def _strategy(jacobian: Kind) -> Callable[..., tuple[PyTree, PyTree]]:
    """`unroll` by `newton` with such Jacobians; the plain scan's result where that does not converge."""

    def run(
        cell: Cell,
        params: PyTree,
        xs: Array,
        carry: PyTree,
        lengths: Array | None,
        reverse: bool,
        nudge: PyTree | None,
        *,
        tolerance: float | None = None,
        max_iterations: int = 100,
        damping: float = 0.0,
    ) -> tuple[PyTree, PyTree]:
        given = {"lengths": lengths, "reverse": reverse, "nudge": nudge, "jacobian": jacobian}
        options = {"tolerance": tolerance, "max_iterations": max_iterations, "damping": damping}
        return newton(cell, params, xs, carry, **given, **options)[:2]

    return run


deer = _strategy("full")
quasi_deer = _strategy("diagonal")

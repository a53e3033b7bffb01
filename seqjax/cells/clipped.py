"""Clipping at every time step inside the backward pass; clips of the whole gradient are optax's."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.cells.binding import bind
from seqjax.cells.carries import require_floats
from seqjax.cells.wrapping import inner_cell
from seqjax.types import Array, Cell, PyTree, UserError


def clipped(
    cell: str = "lstm", hidden: int | None = None, norm: float | None = None, value: float | None = None
) -> Cell:
    """A cell whose gradient is clipped at every time step: `clipped(cell='lstm(hidden=64)', norm=1.0)`.

    Args:
        cell: spec of the cell inside.
        hidden: number of units of the cell inside; None where its spec says, or for its default.
        norm, value: as for `clip_steps`; with neither, the cell is as it is.

    Raises:
        UserError: as `clip_steps`, or a width given both here and in the spec.
    """
    found = inner_cell(cell, hidden)
    return found if norm is None and value is None else clip_steps(found, norm, value)


def clip_steps(cell: Cell, norm: float | None = None, value: float | None = None) -> Cell:
    """The same cell, whose backward pass clips each sequence's δ_t = dL/ds_{t-1} before it goes further back.

        norm:   δ_t -> δ_t · min(1, norm / ‖δ_t‖), over all components of the carry together
        value:  δ_t -> max(-value, min(value, δ_t)), number by number

    The values forwards are unchanged. What is clipped travels on to the steps before, so that an
    explosion is cut where it happens and not after it has filled the sum over time. Parameters and
    input of step t get their part from the clipped δ_{t+1}, and are not clipped themselves.

    The derivatives are then not those of any function, and not linear in the loss: a loss that is a
    mean over B sequences has δ B times smaller than each sequence's own, and a probe that rescales
    δ (`adjoints`) reads it without the clip (`unclipped`), where `zero_nudge` reads it as clipped.
    There is no forward mode.

    (By value, on the gates' sums in place of the carry: Graves 2013, "Generating sequences with
    recurrent neural networks". By norm, of the parameters' gradient: Pascanu, Mikolov & Bengio 2013.)

    Args:
        cell: any Cell with a carry of floating point.
        norm, value: where to clip; one of the two.

    Raises:
        UserError: not exactly one of norm and value, one that is not above 0, or (in the step) a
            carry that is not of floating point.
    """
    if (norm is None) == (value is None):
        raise UserError(f"norm={norm}, value={value}; expected one of the two")
    name, limit = ("norm", norm) if value is None else ("value", value)
    if not 0 < limit < math.inf:
        raise UserError(f"{name}={limit}; expected more than 0, and finite")
    return cell._replace(step=bind(clipped_step, cell.step, name, float(limit)))


def unclipped(cell: Cell) -> Cell:
    """The same cell without what `clip_steps` put around its step, or around a step inside it (`skip`, `scaled`)."""
    step = _unclipped(cell.step)
    return cell if step is cell.step else cell._replace(step=step)


def _unclipped(step: Callable) -> Callable:
    if not isinstance(step, functools.partial) or not step.args:
        return step
    inside = _unclipped(step.args[0])
    if step.func is clipped_step:
        return inside
    return step if inside is step.args[0] else bind(step.func, inside, *step.args[1:])


def clipped_step(
    step: Callable[..., tuple[PyTree, Array]], name: str, limit: float, params: PyTree, carry: PyTree, x: Array
) -> tuple[PyTree, Array]:
    """The step inside, on a carry whose cotangent is clipped; the axes before x's last are the batch's."""
    require_floats(carry)
    return step(params, clip_gradient(name, limit, x.ndim - 1, carry), x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def clip_gradient(name: str, limit: float, axes: int, carry: PyTree) -> PyTree:
    """The carry itself [*batch, ...]; backwards its cotangent is clipped per place of the first `axes` axes."""
    return carry


def _forward(name: str, limit: float, axes: int, carry: PyTree) -> tuple[PyTree, None]:
    return carry, None


def _backward(name: str, limit: float, axes: int, _: None, delta: PyTree) -> tuple[PyTree]:
    if name == "value":
        return (jax.tree.map(lambda leaf: jnp.clip(leaf, -limit, limit), delta),)
    # Relative to the largest, as the square of an exploding δ leaves the range of float32 before δ does.
    over = lambda reduce, leaf: reduce(leaf, axis=tuple(range(axes, leaf.ndim)))  # noqa: E731
    top = jnp.max(jnp.stack([over(jnp.max, jnp.abs(leaf)) for leaf in jax.tree.leaves(delta)]), 0)
    top = jnp.where(top == 0, 1, top)
    units = jax.tree.map(lambda leaf: leaf / _spread(top, leaf), delta)
    length = jnp.sqrt(sum(over(jnp.sum, leaf**2) for leaf in jax.tree.leaves(units)))
    factor = jnp.minimum(1, limit / top / jnp.maximum(length, 1))
    return (jax.tree.map(lambda leaf: (leaf * _spread(factor, leaf)).astype(leaf.dtype), delta),)


clip_gradient.defvjp(_forward, _backward)


def _spread(factor: Array, leaf: Array) -> Array:
    return factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))

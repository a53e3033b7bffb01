"""Any cell with the gradient on some of its paths scaled or stopped, and every value unchanged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax import spec
from seqjax.cells.binding import bind
from seqjax.cells.taps import changed, tap_names
from seqjax.cells.wrapping import inner_cell
from seqjax.types import Array, Cell, PyTree, UserError

Factors = tuple[tuple[str, float], ...]


def scaled(cell: str = "lstm", hidden: int | None = None, **factors: float) -> Cell:
    """A cell whose gradient is multiplied by a factor on the paths named: an ablation as a spec.

    "LSTM without its cell path" is `scaled(cell='lstm(hidden=64)', c=0)`, "with its gates taken as
    constants" `scaled(cell='lstm', input_gate=0, forget_gate=0, output_gate=0)`. The paths:
        h, c ...         a component of the carry by its field, where it enters the step: on the way
                         back from s_t to s_{t-1}, and from the step's own output to s_{t-1}
        x                the input
        forget_gate ...  a value inside the step by the name of its tap; in a cell without taps
                         its sigmoids, sigmoid_0, sigmoid_1 ... in the order of its program

    Args:
        cell: spec of the cell inside.
        hidden: number of units of the cell inside; None where its spec says, or for its default.
        **factors: path=factor. 0 stops the gradient, 1 leaves it, 0.5 halves it, -1 reverses it.

    Raises:
        UserError: a path that the cell does not have (those it has are listed), a factor that is
            not a finite number, or a width given both here and in the spec.
    """
    return scale_paths(inner_cell(cell, hidden), **factors)


def scale_paths(cell: Cell, /, **factors: float) -> Cell:
    """`scaled` for a Cell that is there already; the same paths. Raises UserError as `scaled`."""
    known = paths(cell)
    for name, factor in factors.items():
        if name not in known:
            hint = spec.did_you_mean(name, [*known, "cell", "hidden"])
            raise UserError(f"no path {name!r}{hint}paths: {', '.join(known)}")
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not math.isfinite(factor):
            raise UserError(f"{name}={factor!r}; expected a finite number, the factor on the gradient")
    set_apart = tuple(sorted((name, float(factor)) for name, factor in factors.items() if factor != 1))
    return cell._replace(step=bind(scaled_step, cell.step, set_apart)) if set_apart else cell


def paths(cell: Cell) -> list[str]:
    """The paths that a cell has: its carry's components, x, its taps."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    carry = jax.eval_shape(lambda params: cell.initial_carry(params, ()), params)
    components = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(carry)]
    return [*components, "x", *dict.fromkeys(tap_names(cell, 1))]


def scaled_step(
    step: Callable[..., tuple[PyTree, Array]], factors: Factors, params: PyTree, carry: PyTree, x: Array
) -> tuple[PyTree, Array]:
    """The step of the cell inside, where v stands for each value named and c for its factor:

    v -> v forwards,    ∂L/∂v -> c · ∂L/∂v backwards
    """
    by_name = dict(factors)

    def change(name: str, value: Array) -> Array:
        if name in by_name and not jnp.issubdtype(value.dtype, jnp.floating):
            raise UserError(f"path {name!r} is of {value.dtype}; gradients need floating point")
        return scale_gradient(value, by_name.get(name, 1.0))

    carry = jax.tree_util.tree_map_with_path(lambda path, leaf: change(_name(path), leaf), carry)
    outside = {"x", *(_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(carry))}
    if not by_name.keys() <= outside:
        step = changed(Cell(None, None, step), change).step
    return step(params, carry, change("x", x))


def scale_gradient(value: Array, factor: float) -> Array:
    """The value itself, whose derivative is multiplied by a factor, forwards and backwards; 0 is a hard stop."""
    if factor == 1:
        return value
    return jax.lax.stop_gradient(value) if factor == 0 else _scale_gradient(factor, value)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _scale_gradient(factor: float, value: Array) -> Array:
    return value


@_scale_gradient.defjvp
def _(factor: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return primals[0], factor * tangents[0]


def _name(path: tuple) -> str:
    """A component of the carry: its field; carry_0 ... where it has a place and no name."""
    name = jax.tree_util.keystr(path, simple=True, separator="_") or "state"
    return name if name.isidentifier() else f"carry_{name}"

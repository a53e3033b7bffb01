"""Names for values inside a cell's step, by which a probe can read them and an ablation change them.

`tap` costs nothing: it puts a name into the traced program and is the identity when that runs. A
cell without taps offers its sigmoids, in the order of the program: sigmoid_0, sigmoid_1, ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from seqjax.types import Array, Cell, PyTree

FILLS = "fills:"  # how the name of a tap begins in the traced program, where its gate fills


def tap(name: str, value: Array, fills: bool = False) -> Array:
    """The value itself, with a name: 'forget_gate'.

    fills: of a gate g, whether the state keeps 1 - g of itself, as of z in (1 - z) h + z n; else it keeps g.
    """
    return checkpoint_name(value, FILLS * fills + name)


def changed(cell: Cell, change: Callable[[str, Array], Array]) -> Cell:
    """The same cell, in whose step every tapped value v is replaced by change(name, v)."""

    def step(params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        program, shape = jax.make_jaxpr(cell.step, return_shape=True)(params, carry, x)
        offered = _Offered(change, sigmoids=not _taps(program.jaxpr))
        results = offered.run(program.jaxpr, program.consts, jax.tree.leaves((params, carry, x)))
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return cell._replace(step=step)


def observed(cell: Cell) -> Cell:
    """The same cell, whose output is ({name: tapped value}, y)."""

    def step(params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, tuple[dict[str, Array], Array]]:
        seen: dict[str, Array] = {}

        def keep(name: str, value: Array) -> Array:
            seen[name] = value
            return value

        after, y = changed(cell, keep).step(params, carry, x)
        return after, (seen, y)

    return cell._replace(step=step)


def tap_names(cell: Cell, input_size: int) -> list[str]:
    """The names that a cell offers, in the order of its program."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    x = jax.eval_shape(lambda: jnp.zeros(input_size))
    step = lambda params, x: observed(cell).step(params, cell.initial_carry(params, ()), x)[1][0]  # noqa: E731
    names: list[str] = []
    jax.eval_shape(lambda params, x: names.extend(step(params, x)), params, x)
    return names


def filling(cell: Cell, params: PyTree, carry: PyTree, x: Array) -> set[str]:
    """The names of the taps whose gates fill."""
    program = jax.make_jaxpr(cell.step)(params, carry, x).jaxpr
    return {name.removeprefix(FILLS) for name in _names(program) if name.startswith(FILLS)}


class _Offered:
    """Runs a traced program equation by equation, and offers the tapped values to be changed."""

    def __init__(self, change: Callable[[str, Array], Array], sigmoids: bool) -> None:
        self.change, self.sigmoids, self.count = change, sigmoids, 0

    def run(self, program: Any, consts: Sequence[Any], arguments: Sequence[Array]) -> list[Array]:
        values = dict(zip([*program.constvars, *program.invars], [*consts, *arguments]))

        def read(variable: Any) -> Any:
            return variable.val if hasattr(variable, "val") else values[variable]

        for equation in program.eqns:
            given = [read(variable) for variable in equation.invars]
            inner = equation.params.get("jaxpr")
            if equation.primitive.name in ("jit", "pjit") and (_taps(inner.jaxpr) or self.sigmoids):
                results = self.run(inner.jaxpr, inner.consts, given)
            else:
                variables = [v for v in equation.invars if not hasattr(v, "val")]
                alone = program.replace(eqns=[equation], constvars=[], invars=variables, outvars=list(equation.outvars))
                results = jax.core.eval_jaxpr(alone, (), *(values[v] for v in variables))
            if equation.primitive.name == "name":
                results = [self.change(equation.params["name"].removeprefix(FILLS), results[0])]
            elif equation.primitive.name == "logistic" and self.sigmoids:
                results = [self.change(f"sigmoid_{self.count}", results[0])]
                self.count += 1
            values.update(zip(equation.outvars, results))
        return [read(variable) for variable in program.outvars]


def _taps(program: Any) -> bool:
    """Whether a program, or one that it calls, has a tapped value."""
    return any(True for _ in _names(program))


def _names(program: Any) -> Iterator[str]:
    """Of the tapped values of a program, and of those that it calls."""
    for equation in program.eqns:
        if equation.primitive.name == "name":
            yield equation.params["name"]
        inner = equation.params.get("jaxpr")
        if inner is not None:
            yield from _names(getattr(inner, "jaxpr", inner))

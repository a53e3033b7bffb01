"""Any recurrent cell of Flax linen as a Cell."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqjax.cells.binding import bind
from seqjax.cells.initializers import require_width
from seqjax.spec import did_you_mean
from seqjax.types import Array, Cell, PyTree, UserError


class HiddenCarry(NamedTuple):
    """The state of a Flax cell that has one."""

    h: Array  # [..., H]


class MemoryCarry(NamedTuple):
    """The states of a Flax LSTM, in Flax's order."""

    c: Array  # [..., H]
    h: Array  # [..., H]


def linen(cell: str = "OptimizedLSTMCell", hidden: int = 128, **options: Any) -> Cell:
    """A cell of `flax.linen` by its class name: `linen(cell='GRUCell', hidden=64)`.

    Args:
        cell: name of a subclass of `flax.linen.RNNCellBase` whose state is made of vectors.
        hidden: number of units, the `features` of the Flax cell.
        **options: further fields of the Flax cell: true or false, such as `residual=True` of `SimpleCell`;
            from Python also functions and dtypes, which a spec cannot name.

    Raises:
        UserError: no such cell (the known ones are listed), a convolutional one, an unknown field, or a value
            of another kind than the field's.
    """
    require_width(hidden)
    known = {
        name: found
        for name, found in inspect.getmembers(nn, inspect.isclass)
        if issubclass(found, nn.RNNCellBase) and "features" in found.__dataclass_fields__ and "Conv" not in name
    }
    if cell not in known:
        raise UserError(f"cell={cell!r}{did_you_mean(cell, list(known))}expected one of {', '.join(known)}")
    switch, other = "True or False", "a function or a dtype, which only Python can give"
    fields = {
        name: switch if isinstance(field.default, bool) else other
        for name, field in known[cell].__dataclass_fields__.items()
        if name not in ("features", "parent", "name")
    }
    for name, value in options.items():
        if name not in fields:
            raise UserError(
                f"{cell} has no field {name!r}{did_you_mean(name, list(fields))}fields: {', '.join(fields)}"
            )
        if not (isinstance(value, bool) if fields[name] == switch else callable(value)):
            raise UserError(f"{name}={value!r} of {cell}; expected {fields[name]}")
    module = known[cell](features=hidden, **options)

    def init(key: Array, input_size: int) -> PyTree:
        return module.init(key, bare(start(module, key, (1,))), jnp.zeros((1, input_size)))["params"]

    def initial_carry(params: PyTree, batch_shape: tuple[int, ...]) -> PyTree:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        carry = start(module, jax.random.key(0), batch_shape)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), carry)

    return Cell(init, initial_carry, bind(linen_step, module))


def linen_step(module: nn.RNNCellBase, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
    """The Flax cell's own step."""
    after, y = module.apply({"params": params}, bare(carry), x)
    return named(after), y


def start(module: nn.RNNCellBase, key: Array, batch_shape: tuple[int, ...]) -> PyTree:
    """The Flax cell's own initial carry, its states by name."""
    return named(module.initialize_carry(key, (*batch_shape, 1)))


def named(carry: PyTree) -> PyTree:
    """Flax's carry with names for its states."""
    return MemoryCarry(*carry) if isinstance(carry, tuple) else HiddenCarry(carry)


def bare(carry: PyTree) -> PyTree:
    """The carry as Flax has it."""
    return tuple(carry) if isinstance(carry, MemoryCarry) else carry.h

"""What a carry must be, for steps to follow each other and for a gradient to go through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import PyTree, UserError


def changes_backwards(run: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function has a backward pass of its own, as `clipped` does: it has no forward-mode derivative then."""
    return "custom_vjp" in str(jax.make_jaxpr(run)(*arguments))


def require_floats(carry: PyTree) -> None:
    """Raises UserError naming the component of a carry that is not of floating point."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise UserError(f"{_name(path)} is of {jnp.result_type(leaf)}; gradients need floating point")


def require_batch(carry: PyTree, batch_shape: tuple[int, ...]) -> None:
    """Raises UserError naming the component of a carry that does not begin with the batch's axes."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
        if jnp.shape(leaf)[: len(batch_shape)] != batch_shape:
            axes = f"{list(batch_shape)}, the axes of xs between the first and the last, and any after them"
            raise UserError(f"{_name(path)} is of shape {list(jnp.shape(leaf))}; expected {axes}")


def require_form(carry: PyTree, wanted: PyTree) -> None:
    """Raises UserError where a carry has not the form and the shapes of another, which the cell begins with."""
    if jax.tree.structure(carry) != jax.tree.structure(wanted):
        forms = f"{jax.tree.structure(carry)}; expected {jax.tree.structure(wanted)}"
        raise UserError(f"the carry is of the form {forms}, as the cell's initial_carry gives it")
    for (path, given), like in zip(jax.tree_util.tree_leaves_with_path(carry), jax.tree.leaves(wanted)):
        if jnp.shape(given) != like.shape:
            raise UserError(f"{_name(path)} is of shape {list(jnp.shape(given))}; expected {list(like.shape)}")


def require_step(carry: PyTree, given: Any, batch_shape: tuple[int, ...]) -> None:
    """As `require_after`, and raises UserError too unless the step's output is one array [*batch_shape, H]."""
    require_after(carry, given)
    y = given[1]
    if getattr(y, "shape", ())[:-1] != batch_shape or y.ndim != len(batch_shape) + 1:
        told = list(y.shape) if hasattr(y, "shape") else jax.tree.structure(y)
        raise UserError(f"the step's output is {told}; expected one array, {list(batch_shape)} and its width")


def require_after(carry: PyTree, given: Any) -> None:
    """Raises UserError unless what a step gave, as shapes, is (carry, y), the carry of the form that it was given."""
    if not (isinstance(given, tuple) and len(given) == 2):
        raise UserError(f"the step gives {jax.tree.structure(given)}; expected two, (carry, y)")
    after, _ = given
    if jax.tree.structure(after) != jax.tree.structure(carry):
        forms = f"{jax.tree.structure(after)}; expected {jax.tree.structure(carry)}, as it was given"
        raise UserError(f"the step gives a carry of the form {forms}")
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(carry), jax.tree.leaves(after)):
        if new.shape != jnp.shape(old):
            shapes = f"{list(new.shape)} of {list(jnp.shape(old))}; expected the same"
            raise UserError(f"the step makes {_name(path)} {shapes}")


def _name(path: tuple[Any, ...]) -> str:
    return f"the carry's component {jax.tree_util.keystr(path)}" if path else "the carry"

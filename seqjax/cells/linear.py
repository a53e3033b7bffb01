"""How a cell says that its carry moves linearly, each unit by itself, so that its steps can be taken all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.types import Array, PyTree


def elementwise(a: PyTree, s: PyTree) -> PyTree:
    """a ⊙ s, leaf by leaf."""
    return jax.tree.map(jnp.multiply, a, s)


@dataclasses.dataclass(frozen=True)
class LinearStep:
    """A cell's `step` of which unroll's strategy 'associative' knows the parts:

        s_t = a_t ⊙ s_{t-1} + b_t,    a_t and b_t from the input alone        y_t = read(s_t, x_t)

    Called, it is a step as any other.

    coefficients: (params, x [..., D]) -> (a, b), each of the carry's form; leading axes may be missing
    read:         (params, s_t, x) -> y [..., H]
    times:        ⊙, linear in both, associative and commutative; another than leaf by leaf where a
                  unit's state is a pair of leaves, as of a complex number
    """

    coefficients: Callable[[PyTree, Array], tuple[PyTree, PyTree]]
    read: Callable[[PyTree, PyTree, Array], Array]
    times: Callable[[PyTree, PyTree], PyTree] = elementwise

    def __call__(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """One step."""
        a, b = self.coefficients(params, x)
        after = jax.tree.map(jnp.add, self.times(a, carry), b)
        return after, self.read(params, after, x)

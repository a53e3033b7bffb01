"""The linear recurrence s_t = a_t s_{t-1} + b_t, all steps at once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.types import PyTree

Times = Callable[[PyTree, PyTree], PyTree]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def linear_recurrence(times: Times, a: PyTree, b: PyTree) -> PyTree:
    """s_0 = b_0, s_t = times(a_t, s_{t-1}) + b_t, by `jax.lax.associative_scan`: log₂ T rounds.

        (a, b) then (a', b')  =  (a' a, a' b + b')

    Its derivative is one more recurrence, ṡ_t = a_t ṡ_{t-1} + (ȧ_t s_{t-1} + ḃ_t), not that of the rounds.

    Args:
        times: the associative product, linear in both: of numbers, or of matrices [T, ..., n, n] with
            columns [T, ..., n, 1].
        a, b: leaves [T, ...].
    """
    return _rounds(times, a, b)


@linear_recurrence.defjvp
def _(times: Times, primals: tuple[PyTree, PyTree], tangents: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
    (a, b), (a_dot, b_dot) = primals, tangents
    states = linear_recurrence(times, a, b)
    source = jax.tree.map(jnp.add, times(a_dot, jax.tree.map(one_later, states)), b_dot)
    return states, _rounds(times, a, source)


def _rounds(times: Times, a: PyTree, b: PyTree) -> PyTree:
    def then(first: tuple[PyTree, PyTree], second: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        (a_1, b_1), (a_2, b_2) = first, second
        return times(a_2, a_1), jax.tree.map(jnp.add, times(a_2, b_1), b_2)

    return jax.lax.associative_scan(then, (a, b))[1]


def one_later(leaf: jax.Array) -> jax.Array:
    """What stood one step before, [T, ...], zero at the first."""
    return jnp.concatenate([jnp.zeros_like(leaf[:1]), leaf[:-1]])

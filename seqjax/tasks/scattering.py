"""Symbols among blanks: K of them at distinct random steps of T, in their order."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.types import Array

BLANK = 0


def scatter(key: Array, said: Array, length: int) -> Array:
    """Tokens [T, B]: the symbols [K, B] in order, at K of T steps, every choice of K as likely; else BLANK."""
    count, batch_size = said.shape
    _, places = jax.lax.top_k(jax.random.uniform(key, (batch_size, length)), count)
    blank = jnp.full((length, batch_size), BLANK, said.dtype)
    return blank.at[jnp.sort(places, -1).T, jnp.arange(batch_size)].set(said)

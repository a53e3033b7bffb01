"""Selective copying: pick symbols out of a long stretch of blanks, and repeat them in order."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from seqjax.tasks.scattering import scatter
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.tasks.showing import numbered, spelled
from seqjax.types import Array, Batch, Task, UserError


def selective_copy(length: int = 100, symbols: int = 14, tokens: int = 16) -> Task:
    """T steps of blanks with K symbols at random places among them, then K markers, one an answer.

    Tokens: 0 is the blank, 1 ... S the symbols, S + 1 the marker. Only the K steps of the markers
    count: at the k-th the k-th symbol is asked for. (Gu & Dao 2023, section 4.1.1, after Jing et al.
    2019; the generator is that of the S4 code: T = 4096, K = 16, an alphabet of 16 with blank and
    marker, hence S = 14)

    Baseline: ln S.
    Solved: 99 % of the symbols right (the paper states no criterion; its selective models reach
    97-99.8 %). The score is that share.

    Args:
        length: T.
        symbols: S.
        tokens: K.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    if symbols < 2:
        raise UserError(f"symbols={symbols}; expected at least 2")
    if not 1 <= tokens <= length:
        raise UserError(f"tokens={tokens}; expected from 1 to length={length}")

    def sample(key: Array, batch_size: int) -> Batch:
        key_said, key_places = jax.random.split(key)
        said = jax.random.randint(key_said, (tokens, batch_size), 1, symbols + 1)
        markers = jnp.full_like(said, symbols + 1)
        inputs = jnp.concatenate([scatter(key_places, said, length), markers])
        targets = jnp.zeros_like(inputs).at[-tokens:].set(said - 1)
        return Batch(inputs, targets, jnp.zeros(inputs.shape).at[-tokens:].set(1.0))

    def solved(metrics: dict[str, Array]) -> Array:
        return metrics["score"] >= 0.99

    return Task(
        sample,
        cross_entropy,
        accuracy,
        solved,
        input_size=symbols + 2,
        output_size=symbols,
        baseline=math.log(symbols),
        tokens=True,
        criterion="99 % of the symbols right",
        show=spelled(numbered(symbols), lambda answer: str(answer + 1)),
    )

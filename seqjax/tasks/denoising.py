"""Denoising: pick symbols out of noise, and repeat them in order once a marker has come."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from seqjax.tasks.scattering import scatter
from seqjax.tasks.scoring import cross_entropy, sequence_accuracy
from seqjax.tasks.showing import numbered, spelled
from seqjax.types import Array, Batch, Task, UserError


def denoising(length: int = 100, symbols: int = 9, tokens: int = 10) -> Task:
    """T steps of noise with K symbols at random places among them, the marker, K blanks in which to answer.

    Tokens: 0 is noise and blank, 1 ... S the symbols, S + 1 the marker. Only the last K steps count.
    (Jing et al. 2017, "Gated Orthogonal Recurrent Units", the denoise task, by the authors' code:
    S = 9, K = 10)

    Departure: the K places are distinct. The authors' code draws them with repetition, so that a
    symbol may be overwritten and still be asked for.

    Baseline: ln S.
    Solved: 99 % of the sequences answered without a mistake (the paper shows curves only). The score
    is that share.

    Args:
        length: T, steps before the marker.
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
        ending = jnp.zeros((tokens + 1, batch_size), said.dtype).at[0].set(symbols + 1)
        inputs = jnp.concatenate([scatter(key_places, said, length), ending])
        targets = jnp.zeros_like(inputs).at[-tokens:].set(said - 1)
        return Batch(inputs, targets, jnp.zeros(inputs.shape).at[-tokens:].set(1.0))

    def solved(metrics: dict[str, Array]) -> Array:
        return metrics["score"] >= 0.99

    return Task(
        sample,
        cross_entropy,
        sequence_accuracy,
        solved,
        input_size=symbols + 2,
        output_size=symbols,
        baseline=math.log(symbols),
        tokens=True,
        criterion="99 % of the sequences answered without a mistake",
        show=spelled(numbered(symbols), lambda answer: str(answer + 1)),
    )

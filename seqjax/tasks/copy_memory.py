"""Copy memory: read ten symbols, wait, and repeat them on a signal."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import cross_entropy, sequence_accuracy
from seqjax.types import Array, Batch, Task, UserError


def copy_memory(length: int = 100, symbols: int = 8, tokens: int = 10) -> Task:
    """K symbols, T blanks of which the last is a marker, K blanks in which to repeat the symbols.

    Tokens: 0 is the blank, 1 ... S the symbols, S + 1 the marker. A sequence has T + 2K steps: the
    symbols, T - 1 blanks, the marker, K blanks. The target is blank for T + K steps, then the
    symbols in order; every step counts. (Hochreiter & Schmidhuber 1997; the numbers are those of
    Arjovsky, Shah & Bengio 2016, section 4.1, and of their code)

    Baseline: blanks while there is nothing to say, then a guess among S symbols: K·ln(S)/(T + 2K).
    Solved: 99 % of the sequences are repeated without a mistake (the paper shows curves only). The
    score is that share.

    Args:
        length: T, blanks and marker between the symbols and their repetition.
        symbols: S.
        tokens: K.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    if symbols < 2:
        raise UserError(f"symbols={symbols}; expected at least 2")
    if tokens < 1:
        raise UserError(f"tokens={tokens}; expected at least 1")
    marker = symbols + 1

    def sample(key: Array, batch_size: int) -> Batch:
        said = jax.random.randint(key, (tokens, batch_size), 1, symbols + 1)
        blank = jnp.zeros((length + 2 * tokens, batch_size), said.dtype)
        inputs = blank.at[:tokens].set(said).at[length + tokens - 1].set(marker)
        targets = blank.at[-tokens:].set(said)
        return Batch(inputs, targets, jnp.ones(targets.shape))

    def solved(metrics: dict[str, Array]) -> Array:
        return metrics["score"] >= 0.99

    return Task(
        sample,
        cross_entropy,
        sequence_accuracy,
        solved,
        input_size=symbols + 2,
        output_size=symbols + 1,
        baseline=tokens * math.log(symbols) / (length + 2 * tokens),
        tokens=True,
        criterion="99 % of the sequences repeated without a mistake",
    )

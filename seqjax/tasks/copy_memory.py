"""Copy memory: read ten symbols, wait, and repeat them on a signal."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import at_least, cross_entropy, sequence_accuracy
from seqjax.tasks.showing import numbered, spelled
from seqjax.types import Array, Batch, Task, UserError


def copy_memory(
    length: int = 100, symbols: int = 8, tokens: int = 10, variant: Literal["urnn", "variable"] = "urnn"
) -> Task:
    """K symbols, blanks, a marker, K blanks in which to repeat the symbols.

    Tokens: 0 is the blank, 1 ... S the symbols, S + 1 the marker. The target is blank up to and with
    the marker, then the symbols in order; every step counts.

    Variants:
        'urnn': T - 1 blanks before the marker, T + 2K steps in all. (Hochreiter & Schmidhuber 1997;
            the numbers are those of Arjovsky, Shah & Bengio 2016, section 4.1, and of their code)
        'variable': n blanks before the marker, drawn from 1 to T: n + 1 + 2K steps. (Tallec & Ollivier
            2018, section 3, after Henaff, Szlam & LeCun 2016. They do not say whether the sequences
            are filled up to one length; here they end with the answer.)

    Baseline: blanks up to the marker, then a guess among S symbols: K·ln(S)/(T + 2K), in 'variable'
    with the mean length (T + 1)/2 + 1 + 2K in the place of T + 2K. There this takes a memory of the
    marker, though of no symbol; who has none at all does worse.
    Solved: 99 % of the sequences are repeated without a mistake (the papers show curves only). The
    score is that share.

    Args:
        length: T.
        symbols: S.
        tokens: K.
        variant: which paper's generator.

    Raises:
        UserError: length or tokens below 1, or symbols below 2.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    if symbols < 2:
        raise UserError(f"symbols={symbols}; expected at least 2")
    if tokens < 1:
        raise UserError(f"tokens={tokens}; expected at least 1")
    marker = symbols + 1
    longest, mean = length + 2 * tokens, float(length + 2 * tokens)
    if variant == "variable":
        longest, mean = longest + 1, (length + 1) / 2 + 1 + 2 * tokens

    def sample(key: Array, batch_size: int) -> Batch:
        if variant == "urnn":
            said = jax.random.randint(key, (tokens, batch_size), 1, symbols + 1)
            blank = jnp.zeros((longest, batch_size), said.dtype)
            inputs = blank.at[:tokens].set(said).at[length + tokens - 1].set(marker)
            return Batch(inputs, blank.at[-tokens:].set(said), jnp.ones(inputs.shape))
        key_said, key_wait = jax.random.split(key)
        said = jax.random.randint(key_said, (tokens, batch_size), 1, symbols + 1)
        signal = tokens + jax.random.randint(key_wait, (batch_size,), 1, length + 1)  # the step of the marker
        steps = jnp.arange(longest)[:, None]
        inputs = jnp.where(steps == signal, marker, jnp.zeros((longest, batch_size), said.dtype))
        answer = jnp.take_along_axis(said, jnp.clip(steps - signal - 1, 0, tokens - 1), 0)
        lengths = signal + 1 + tokens
        exists = steps < lengths
        targets = jnp.where((steps > signal) & exists, answer, 0)
        return Batch(inputs.at[:tokens].set(said), targets, exists.astype(jnp.float32), lengths)

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.99)

    return Task(
        sample,
        cross_entropy,
        sequence_accuracy,
        solved,
        input_size=symbols + 2,
        output_size=symbols + 1,
        baseline=tokens * math.log(symbols) / mean,
        tokens=True,
        criterion="99 % of the sequences repeated without a mistake",
        show=spelled(numbered(symbols)),
    )

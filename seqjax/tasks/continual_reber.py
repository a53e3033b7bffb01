"""Continual Reber: embedded Reber strings one after the other, with nothing to say where one ends."""

from __future__ import annotations

import jax.numpy as jnp

from seqjax.tasks.answering import ANSWERS, Outputs
from seqjax.tasks.grammar import (
    LOSSES,
    SYMBOLS,
    answers,
    chain,
    legal_score,
    memoryless_loss,
    show,
    walk,
)
from seqjax.types import Array, Batch, Task, UserError


def continual_reber(length: int = 100, outputs: Outputs = "softmax") -> Task:
    """A stream of embedded Reber strings; at every step the next symbol is asked for.

    The E of one string is followed by the B of the next, and the network is not reset in between. A
    sequence is the first T symbols of a stream that begins with a string. (Gers, Schmidhuber & Cummins
    2000, section 4; the grammar is that of `embedded_reber`)

    The loss is the cross-entropy of the symbol that comes; with outputs='sigmoid' the squared error of
    sigmoids, as in the paper.
    Baseline: the best guess from the time step and the symbol just read, exactly, from the chain.
    Solved: in 99.99 % of the streams the legal symbols are at every step the most active ones; the score
    is that share. The paper trains and tests on streams of up to 10⁵ or 10⁶ symbols (our sources disagree)
    and calls a symbol predicted where its sigmoid output is above .49. Long streams are a matter of
    evaluation: --eval_task='continual_reber(length=10000)'.

    Args:
        length: T, symbols that are read.
        outputs: 'softmax' with cross-entropy, or 'sigmoid' with squared error.

    Raises:
        UserError: a length below 1.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    stream, how = chain(None), ANSWERS[outputs]

    def sample(key: Array, batch_size: int) -> Batch:
        said, nodes = walk(key, stream, length + 1, batch_size)
        return Batch(said[:-1], answers(said, nodes)[1:], jnp.ones((length, batch_size)))

    def solved(metrics: dict[str, Array]) -> Array:
        return metrics["score"] >= 0.9999

    return Task(
        sample,
        LOSSES[outputs],
        legal_score,
        solved,
        input_size=len(SYMBOLS),
        output_size=len(SYMBOLS),
        baseline=memoryless_loss(stream, length, how),
        tokens=True,
        criterion="every legal symbol most active at every step of 99.99 % of the streams",
        show=show,
    )

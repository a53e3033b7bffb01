"""Embedded Reber: predict the symbols of a string whose last but one is the same as its second."""

from __future__ import annotations

import jax.numpy as jnp

from seqjax.tasks.answering import ANSWERS, Outputs
from seqjax.tasks.grammar import (
    END,
    LOSSES,
    SHORTEST,
    SYMBOLS,
    answers,
    chain,
    legal_score,
    memoryless_loss,
    show,
    walk,
)
from seqjax.tasks.scoring import at_least
from seqjax.types import Array, Batch, Task, UserError

LONGEST = 10_000


def embedded_reber(longest: int = 50, outputs: Outputs = "softmax") -> Task:
    """Strings of the embedded Reber grammar; at every step the next symbol is asked for.

    A string is B, then T or P, a string of the Reber grammar, the same T or P again, and E; at every
    branch of the grammar's graph each way has chance 1/2. All of it but the last symbol is read.
    (Hochreiter & Schmidhuber 1997, experiment 1; Smith & Zipser 1989; Fahlman 1991)

    The loss is the cross-entropy of the symbol that comes, which where two are legal stays near ln 2;
    with outputs='sigmoid' the squared error of sigmoids, as in the paper.
    Baseline: the best guess from the time step and the symbol just read, exactly, from the chain.
    Solved: on 99.99 % of the strings the legal symbols are at every step the most active ones (the
    paper: on all of its 256 training and 256 test strings). The score is that share.

    Departures: fresh strings instead of 256 fixed ones, and none longer than `longest`, for a batch
    needs a bound. A string is longer than 50 symbols once in 395,000.

    Args:
        longest: symbols of the longest string.
        outputs: 'softmax' with cross-entropy, or 'sigmoid' with squared error.

    Raises:
        UserError: longest is below 9, the shortest string, or above 10,000.
    """
    if longest < SHORTEST:
        raise UserError(f"longest={longest}; expected at least {SHORTEST}, the shortest string")
    if longest > LONGEST:
        raise UserError(f"longest={longest}; expected at most {LONGEST}: the table of chances has a row a step")
    strings, how = chain(longest), ANSWERS[outputs]

    def sample(key: Array, batch_size: int) -> Batch:
        said, nodes = walk(key, strings, longest, batch_size)
        lengths = jnp.sum(nodes != END, 0) - 1
        mask = (jnp.arange(longest - 1)[:, None] < lengths).astype(jnp.float32)
        targets = answers(said, nodes)[1:] * mask[..., None]
        return Batch(jnp.where(mask > 0, said[:-1], 0), targets, mask, lengths)

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.9999)

    return Task(
        sample,
        LOSSES[outputs],
        legal_score,
        solved,
        input_size=len(SYMBOLS),
        output_size=len(SYMBOLS),
        baseline=memoryless_loss(strings, longest - 1, how),
        tokens=True,
        criterion="every legal symbol most active at every step of 99.99 % of the strings",
        show=show,
    )

"""Continual Reber: embedded Reber strings one after the other, with nothing to say where one ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.answering import ANSWERS, Outputs
from seqjax.tasks.grammar import (
    LOSSES,
    SYMBOLS,
    answers,
    chain,
    legal_score,
    memoryless_loss,
    show,
    threshold_score,
    walk,
)
from seqjax.tasks.scoring import at_least
from seqjax.types import Array, Batch, Examples, Task, UserError

LONGEST = 10_000_000  # symbols of a stream
TESTED = 10  # streams


class Windows(NamedTuple):
    """Parts of one stream that follow each other; the last symbol of one is the first of the next.

    said:  [N, T + 1] symbols
    nodes: [N, T + 1] the node of the grammar before each
    asked: [N] whether what the window asks for counts
    """

    said: Array
    nodes: Array
    asked: Array


def continual_reber(
    length: int = 100, outputs: Outputs = "softmax", carried: int = 0, tested: int = 0, threshold: float = 0.0
) -> Task:
    """A stream of embedded Reber strings; at every step the next symbol is asked for.

    The E of one string is followed by the B of the next, and the network is not reset in between. A
    sequence is the first T symbols of a stream that begins with a string. (Gers, Schmidhuber & Cummins
    2000, section 4; the grammar is that of `embedded_reber`)

    With `carried` symbols training reads one stream of so many, T at a time, and the state is handed on from each T
    to the next, which gradients do not cross; evaluation reads 10 others, of `tested` symbols each, side by side
    where --eval_size=10. Their first T symbols are read and do not count, as a fresh state is met but once in
    training. All runs, of whatever seed, read the same streams.

    The loss is the cross-entropy of the symbol that comes; with outputs='sigmoid' the squared error of
    sigmoids, as in the paper.
    Baseline: the best guess from the time step and the symbol just read, exactly, from the chain.
    Solved: in 99.99 % of the streams (carried: of the T symbols at a time) the legal symbols are at every step the
    most active ones; the score is that share. With a threshold they are those whose sigmoid is above it, and no
    others; the paper's is .49 (how it is used there is from memory). The paper trains and tests on streams of up to
    10⁵ or 10⁶ symbols (our sources disagree). Long streams from a fresh state are a matter of evaluation:
    --eval_task='continual_reber(length=10000)'.

    Args:
        length: T, symbols that are read.
        outputs: 'softmax' with cross-entropy, or 'sigmoid' with squared error.
        carried: symbols of the stream that training reads with its state carried on; 0: every sequence from a
            fresh state.
        tested: symbols of each stream that evaluation reads then; 0: a hundredth of `carried`.
        threshold: of outputs='sigmoid', above which a symbol is predicted; 0: where it is among the most active.

    Raises:
        UserError: a length below 1; a threshold that no sigmoid crosses, or of a softmax; streams to test on without
            one that is carried, too short for two windows, or too long to be held.
    """
    if length < 1:
        raise UserError(f"length={length}; expected at least 1")
    least = 100 * (2 * length + 1)  # two windows in each hundredth, of which the second counts
    if carried and not least <= carried <= LONGEST:
        raise UserError(f"carried={carried}; expected 0, or {least} = 100·(2·length + 1) to {LONGEST}")
    if tested and not (carried and 2 * length < tested <= LONGEST // TESTED):
        wanted = f"0, or beside carried more than 2·length={2 * length} up to {LONGEST // TESTED}"
        raise UserError(f"tested={tested}; expected {wanted}")
    if not 0 <= threshold < 1 or (threshold and outputs != "sigmoid"):
        raise UserError(f"threshold={threshold:g}; expected 0, or beside outputs='sigmoid' between 0 and 1")
    stream, how = chain(None), ANSWERS[outputs]
    predicted = f"with an output above {threshold:g}, and no other," if threshold else "most active"

    def sample(key: Array, batch_size: int) -> Batch:
        said, nodes = walk(key, stream, length + 1, batch_size)
        return Batch(said[:-1], answers(said, nodes)[1:], jnp.ones((length, batch_size)))

    def batch(windows: Windows) -> Batch:
        said, nodes = windows.said.T, windows.nodes.T
        return Batch(said[:-1], answers(said, nodes)[1:], jnp.where(windows.asked, jnp.ones(said[1:].shape), 0))

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.9999)

    return Task(
        sample,
        LOSSES[outputs],
        partial(threshold_score, threshold=threshold) if threshold else legal_score,
        solved,
        input_size=len(SYMBOLS),
        output_size=len(SYMBOLS),
        baseline=memoryless_loss(stream, carried or length, how),
        tokens=True,
        criterion=f"every legal symbol {predicted} at every step of 99.99 % of the streams",
        show=show,
        examples=_examples(carried, tested or carried // 100, length, batch) if carried else None,
    )


def _examples(symbols: int, tested: int, length: int, batch: Callable[[Windows], Batch]) -> Examples:
    train, test = _windows(0, 1, symbols, length), _windows(1, TESTED, tested, length)
    first = np.arange(len(test.asked)) % (len(test.asked) // TESTED) == 0
    return Examples(train, test._replace(asked=jnp.asarray(~first)), batch, streams=True)


def _windows(number: int, streams: int, symbols: int, length: int) -> Windows:
    """So many streams of so many symbols, one after the other in windows; what is left over at an end is dropped."""
    both = jax.jit(lambda key: walk(key, chain(None), symbols, streams))(jax.random.key(number))
    starts = np.arange((symbols - 1) // length)[:, None] * length + np.arange(length + 1)
    said, nodes = (jnp.asarray(np.asarray(leaf).T[:, starts].reshape(-1, length + 1)) for leaf in both)
    return Windows(said, nodes, jnp.ones(len(said), bool))

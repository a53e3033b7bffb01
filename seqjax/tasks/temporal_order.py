"""Temporal order: in which order did the X's and Y's come, far back among noise?"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.answering import ANSWERS, Outputs, near
from seqjax.tasks.scoring import accuracy, at_least, masked_mean
from seqjax.tasks.showing import spelled
from seqjax.types import Array, Batch, Task, UserError

# Hochreiter & Schmidhuber 1997, experiments 6a and 6b: for 2 and for 3 relevant symbols, the first and
# the last step in which each may fall, at length 100.
WINDOWS = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
NOISE, X, Y, BEGIN, END = 4, 4, 5, 6, 7  # tokens: 0-3 noise a b c d, then X Y E B
RIGHT = {"softmax": "classified right", "sigmoid": "with every output's error below .3"}


def temporal_order(length: int = 100, relevant: int = 2, outputs: Outputs = "softmax") -> Task:
    """Classify a sequence of noise by the order of the X's and Y's hidden in it.

    A sequence begins with E, ends with B (the trigger, after which the class is read), and holds
    noise symbols a, b, c, d except at 2 or 3 steps, which hold X or Y each with chance 1/2: 4 or 8
    classes. At length 100 the relevant symbols fall in steps 10-20 and 50-60 (2) or 10-20, 33-43
    and 66-76 (3), ends included; other lengths scale these windows. Sequences are T to 1.1·T long.
    (Hochreiter & Schmidhuber 1997, experiments 6a "4 classes" and 6b "8 classes")

    The loss is cross-entropy; with outputs='sigmoid' the squared error of sigmoids, as in the paper.
    Baseline: a guess among the classes, ln 4 or ln 8; by squared error 3/4 or 7/8.
    Solved: 99.9 % of the sequences right: the class is the most active output; with outputs='sigmoid' every
    output's error is below .3, as in the paper, which asks for 2,000 sequences in a row and a mean error below .1.

    Args:
        length: T, the shortest length, E and B included.
        relevant: 2 (four classes) or 3 (eight classes).
        outputs: 'softmax' with cross-entropy, or 'sigmoid' with squared error.

    Raises:
        UserError: relevant is neither, or the length leaves the windows no room of their own.
    """
    if relevant not in WINDOWS:
        raise UserError(f"relevant={relevant}; expected 2 or 3")
    if length < 20:
        raise UserError(f"length={length}; expected at least 20")
    windows = [(round(a * length / 100), round(b * length / 100)) for a, b in WINDOWS[relevant]]
    longest = length + length // 10
    classes, how = 2**relevant, ANSWERS[outputs]

    def sample(key: Array, batch_size: int) -> Batch:
        key_noise, key_symbols, key_length, *keys = jax.random.split(key, 3 + relevant)
        steps = jnp.arange(longest)[:, None]
        lengths = jax.random.randint(key_length, (batch_size,), length, longest + 1)
        inputs = jax.random.randint(key_noise, (longest, batch_size), 0, NOISE)
        is_y = jax.random.bernoulli(key_symbols, 0.5, (relevant, batch_size)).astype(inputs.dtype)
        for n, (first, last) in enumerate(windows):
            place = jax.random.randint(keys[n], (batch_size,), first, last + 1)
            inputs = jnp.where(steps == place, X + is_y[n], inputs)
        inputs = jnp.where(steps == 0, BEGIN, jnp.where(steps >= lengths - 1, END, inputs))
        target = jnp.sum(is_y * 2 ** jnp.arange(relevant)[::-1, None], 0)
        return Batch(inputs, target, jnp.ones(batch_size), lengths)

    def score(outputs: Array, batch: Batch) -> Array:
        return masked_mean(near(how, outputs, batch, 0.3), batch.mask)

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.999)

    orders = ["".join("XY"[n >> place & 1] for place in reversed(range(relevant))) for n in range(classes)]
    return Task(
        sample,
        how.loss,
        accuracy if outputs == "softmax" else score,
        solved,
        input_size=8,
        output_size=classes,
        baseline=float(how.doubt(np.full(classes, 1 / classes))),
        readout="last",
        tokens=True,
        criterion=f"99.9 % of the sequences {RIGHT[outputs]}",
        show=spelled("abcdXYEB", orders),
    )

"""Noise-free lag: the first symbol of a long sequence comes again at its end, with nothing in between to help."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.answering import ANSWERS, Outputs, near
from seqjax.tasks.scoring import at_least, masked_mean, whole_sequences
from seqjax.tasks.showing import spelled
from seqjax.types import Array, Batch, Task, UserError

MARGIN = {"2a": 0.25, "2b": 0.25, "2c": 0.2}
MOST_MORE = 100  # 2c: a sequence with more than so many further symbols, one in 42,000, is drawn again


def noise_free_lag(
    length: int = 100,
    variant: Literal["2a", "2b", "2c"] = "2a",
    distractors: int | None = None,
    outputs: Outputs = "softmax",
    asked: Literal["all", "last"] = "all",
) -> Task:
    """Name at the end the symbol x or y that came at the beginning, T steps ago.

    Variants, as Hochreiter & Schmidhuber 1997, experiment 2, name them (p, and q in 2c, are our T):
        '2a': (y, a1, ..., a_{p-1}, y) or (x, a1, ..., a_{p-1}, x), each with chance 1/2. At every step
            the next symbol is asked for. Inputs are the first p symbols, targets the last p.
        '2b': as '2a', but every a is drawn from a1, ..., a_{p-1}: no regularity to compress. The
            drawn symbols cannot be predicted, and count all the same, unless asked='last'.
        '2c': (b, y, a_i1, ..., a_i(q+k), e, y) or the same with x; every a is drawn from p
            distractors, and k is geometric: after q of them each further symbol is e with chance
            1/10. Only x or y is asked for, at the step of e: a memory of q + k + 1 steps.

    Loss: cross-entropy; with outputs='sigmoid' the squared error of sigmoids, as in the paper.
    Baseline, by cross-entropy: '2a' ln(2)/p; '2b' ((p - 1) ln(p - 1) + ln 2)/p; '2c' ln 2; by squared
    error: '2a' 1/(2p); '2b' (p - 2 + 1/2)/p; '2c' 1/2. With asked='last' all have that of '2c'.
    Solved: on 99.99 % of the sequences every output unit's absolute error is below .25 at all steps
    ('2a', of which asked='last' leaves the last), below .25 at the last ('2b'), below .2 ('2c') (the
    paper: on 10,000 sequences in a row). The score is that share.

    Args:
        length: T: p in '2a' and '2b', q in '2c'.
        variant: which of the three.
        distractors: '2c': p, how many distractors there are; None for as many as T.
        outputs: 'softmax' with cross-entropy, or 'sigmoid' with squared error.
        asked: 'all' steps' next symbol counts in '2a' and '2b', or the 'last' alone; in '2c' it is the last.

    Raises:
        UserError: a length below 2, distractors outside '2c' or fewer than 1.
    """
    if length < 2:
        raise UserError(f"length={length}; expected at least 2")
    if variant != "2c" and distractors is not None:
        raise UserError(f"distractors={distractors} is of variant='2c' alone; leave it out in {variant!r}")
    if distractors is not None and distractors < 1:
        raise UserError(f"distractors={distractors}; expected at least 1")
    margin, how = MARGIN[variant], ANSWERS[outputs]
    coin = float(how.doubt(np.full(2, 0.5)))

    def score(outputs: Array, batch: Batch) -> Array:
        right = near(how, outputs, batch, margin)
        if variant == "2c":
            return masked_mean(right, batch.mask)
        asked = slice(None) if variant == "2a" else slice(-1, None)
        return whole_sequences(right[asked], batch.mask[asked])

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], 0.9999)

    where = {"2a": "at every step", "2b": "at the last step", "2c": "at the end"}[variant]
    where = "at the last step" if asked == "last" and variant != "2c" else where
    criterion = f"every output's error below {margin:g} {where} on 99.99 % of the sequences"
    if variant == "2c":
        count = length if distractors is None else distractors
        return Task(
            _sampler_2c(length, count),
            how.loss,
            score,
            solved,
            input_size=count + 4,
            output_size=2,
            baseline=coin,
            readout="last",
            tokens=True,
            criterion=criterion,
            show=spelled(lambda n: f"a{n + 1}" if n < count else "ebxy"[n - count], "xy"),
        )

    unknown = (length - 1) * float(how.doubt(np.full(length - 1, 1 / (length - 1)))) if variant == "2b" else 0.0
    return Task(
        _sampler(length, variant == "2b", asked == "all"),
        how.loss,
        score,
        solved,
        input_size=length + 1,
        output_size=length + 1,
        baseline=coin if asked == "last" else (unknown + coin) / length,
        tokens=True,
        criterion=criterion,
        show=spelled(lambda n: f"a{n + 1}" if n < length - 1 else "xy"[n - length + 1]),
    )


def _sampler(length: int, drawn: bool, at_all: bool) -> Callable[[Array, int], Batch]:
    """2a and 2b; tokens: a1 ... a_{p-1}, x, y."""

    def sample(key: Array, batch_size: int) -> Batch:
        key_class, key_fill = jax.random.split(key)
        ends = length - 1 + jax.random.bernoulli(key_class, 0.5, (1, batch_size)).astype(jnp.int32)
        fill = jnp.broadcast_to(jnp.arange(length - 1)[:, None], (length - 1, batch_size))
        if drawn:
            fill = jax.random.randint(key_fill, fill.shape, 0, length - 1)
        whole = jnp.concatenate([ends, fill, ends])
        mask = jnp.ones((length, batch_size)) if at_all else jnp.zeros((length, batch_size)).at[-1].set(1)
        return Batch(whole[:-1], whole[1:], mask)

    return sample


def _sampler_2c(length: int, count: int) -> Callable[[Array, int], Batch]:
    """2c; tokens: a1 ... ap, e, b, x, y."""
    end, begin, x = count, count + 1, count + 2

    def sample(key: Array, batch_size: int) -> Batch:
        key_class, key_fill, key_more = jax.random.split(key, 3)
        is_y = jax.random.bernoulli(key_class, 0.5, (batch_size,)).astype(jnp.int32)
        u = jax.random.uniform(key_more, (batch_size,)) * (1 - 0.9 ** (MOST_MORE + 1))
        more = jnp.minimum(jnp.log1p(-u) // math.log(0.9), MOST_MORE).astype(jnp.int32)
        lengths = length + more + 3
        inputs = jax.random.randint(key_fill, (length + MOST_MORE + 3, batch_size), 0, count)
        inputs = inputs.at[0].set(begin).at[1].set(x + is_y)
        inputs = jnp.where(jnp.arange(len(inputs))[:, None] < lengths - 1, inputs, end)
        return Batch(inputs, is_y, jnp.ones(batch_size), lengths)

    return sample

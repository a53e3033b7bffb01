"""Two sequences: name the class that the first few numbers tell, after a long stretch of noise on the same line."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.tasks.scoring import above, at_least, masked_mean, squared_error
from seqjax.types import Array, Batch, Task, UserError

MARGIN = {"3a": 0.2, "3b": 0.2, "3c": 0.1}
MEAN = {"3a": 0.01, "3b": 0.04, "3c": 0.015}
LEAST = {"3a": 0.9999, "3b": 1 - 6 / 256, "3c": 0.9999}
CRITERION = {
    "3a": "error below .2 on 99.99 % of the sequences",
    "3b": "error below .2 on all but fewer than 6 of 256 sequences",
    "3c": "within .1 of the noise-free target on 99.99 % of the sequences",
}


def sigmoid_error(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of (σ(output) - target)²."""
    return squared_error(jax.nn.sigmoid(outputs), batch)


SAID = {"linear": (lambda outputs: outputs, squared_error), "sigmoid": (jax.nn.sigmoid, sigmoid_error)}


def two_sequence(
    length: int = 100,
    variant: Literal["3a", "3b", "3c"] = "3a",
    informative: int = 3,
    criterion: Literal["ST1", "ST2"] = "ST1",
    outputs: Literal["linear", "sigmoid"] = "linear",
) -> Task:
    """One number a step; the first N are 1 or -1 and tell the class, the others are N(0, .2) noise.

    Each class has chance 1/2; lengths are drawn from T to 1.1·T; the answer is read at the end.
    (Hochreiter & Schmidhuber 1997, experiment 3; 3a is from Bengio, Simard & Frasconi 1994)

    Variants (the second number of a Gaussian is its variance):
        '3a': target 1 for class 1, whose first numbers are 1; 0 for class 2, whose are -1.
        '3b': as '3a', with N(0, .2) added to the first N as well.
        '3c': as '3a', but target .2 for class 1 and .8 for class 2, with N(0, .1) added to it: what is
            to be learned is its mean.

    Baseline: the variance of the target: 1/4, in '3c' .09 + .1. There the noise alone costs .1, which
    no network can go below.
    Solved: by the paper's criterion ST1 in '3a' error below .2 on every test sequence, here on 99.99 % of
    them; in '3b' on all but fewer than 6 of 256; in '3c' within .1 of the noise-free target on every one.
    By ST2 the mean absolute error must be below .01, .04 and .015 as well (in '3c', that from the
    noise-free target). The score is the share of sequences within the margin; by ST2 it is 0 until
    the mean is below its bound.

    Random guessing of weights solves '3a' and '3b' faster than any learning (the paper says so).

    Args:
        length: T, the shortest length.
        variant: which of the three.
        informative: N; 1 and 3 in the paper.
        criterion: which of the paper's two.
        outputs: 'sigmoid' for the paper's output unit, which says σ of what is read; 'linear' for that itself.

    Raises:
        UserError: informative below 1, or a length that is not above it.
    """
    if informative < 1:
        raise UserError(f"informative={informative}; expected at least 1")
    if length <= informative:
        raise UserError(f"length={length}; expected more than informative={informative}")
    longest = length + length // 10
    said, loss = SAID[outputs]

    def sample(key: Array, batch_size: int) -> Batch:
        key_class, key_noise, key_length, key_target = jax.random.split(key, 4)
        first = jax.random.bernoulli(key_class, 0.5, (batch_size,))
        lengths = jax.random.randint(key_length, (batch_size,), length, longest + 1)
        steps = jnp.arange(longest)[:, None]
        noise = 0.2**0.5 * jax.random.normal(key_noise, (longest, batch_size))
        told = jnp.where(first, 1.0, -1.0) + (noise if variant == "3b" else 0.0)
        inputs = jnp.where(steps < informative, told, noise)
        inputs = jnp.where(steps < lengths, inputs, 0.0)
        target = first.astype(inputs.dtype)
        if variant == "3c":
            target = jnp.where(first, 0.2, 0.8) + 0.1**0.5 * jax.random.normal(key_target, (batch_size,))
        return Batch(inputs[..., None], target[:, None], jnp.ones(batch_size), lengths)

    def score(outputs: Array, batch: Batch) -> Array:
        wanted = batch.targets[..., 0]
        if variant == "3c":  # without its noise, as the first input tells it
            wanted = jnp.where(batch.inputs[0, :, 0] > 0, 0.2, 0.8)
        error = jnp.abs(said(outputs)[..., 0] - wanted)
        share = masked_mean(error < MARGIN[variant], batch.mask)
        return share if criterion == "ST1" else jnp.where(masked_mean(error, batch.mask) < MEAN[variant], share, 0.0)

    def solved(metrics: dict[str, Array]) -> Array:
        if variant == "3b":
            return above(metrics["score"], LEAST[variant])
        return at_least(metrics["score"], LEAST[variant])

    words = CRITERION[variant] + (f", mean error below {MEAN[variant]:g}" if criterion == "ST2" else "")
    baseline = 0.3**2 + 0.1 if variant == "3c" else 0.25
    return Task(sample, loss, score, solved, 1, 1, baseline, "last", criterion=words)

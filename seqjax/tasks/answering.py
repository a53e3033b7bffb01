"""How a network names one symbol of several: by a softmax, or as before 2000 by sigmoids and squared error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.scoring import cross_entropy, masked_mean
from seqjax.types import Array, Batch

Outputs = Literal["softmax", "sigmoid"]


class Answer(NamedTuple):
    """What the readout's numbers mean.

    activity: outputs [..., O] -> activities of the output units, in [0, 1]
    loss:     (outputs, batch) -> mean over the mask; targets are the symbols' numbers
    doubt:    chances [..., O] -> the expected loss of the best answer to somebody who knows the chances
    """

    activity: Callable[[Array], Array]
    loss: Callable[[Array, Batch], Array]
    doubt: Callable[[np.ndarray], np.ndarray]


def sigmoid_squared_error(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of Σ_o (σ(output_o) - [o is the target])²."""
    wanted = jax.nn.one_hot(batch.targets, outputs.shape[-1])
    return masked_mean(jnp.sum((jax.nn.sigmoid(outputs) - wanted) ** 2, -1), batch.mask)


def near(how: Answer, outputs: Array, batch: Batch, margin: float) -> Array:
    """Whether every output unit is within a margin of 1 for the target and of 0 for the others, [...]."""
    wanted = jax.nn.one_hot(batch.targets, outputs.shape[-1])
    return jnp.all(jnp.abs(how.activity(outputs) - wanted) < margin, -1)  # NaN is not, whose maximum may be


def _entropy(chances: np.ndarray) -> np.ndarray:
    return -np.sum(chances * np.log(np.where(chances > 0, chances, 1)), -1)


def _variance(chances: np.ndarray) -> np.ndarray:
    return np.sum(chances * (1 - chances), -1)


ANSWERS = {  # 'softmax': doubt -Σ p ln p; 'sigmoid': doubt Σ p (1 - p), where each σ is its symbol's chance
    "softmax": Answer(jax.nn.softmax, cross_entropy, _entropy),
    "sigmoid": Answer(jax.nn.sigmoid, sigmoid_squared_error, _variance),
}

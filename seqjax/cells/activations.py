"""The squashing functions that cells take by name."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

Activation = Literal["tanh", "relu", "identity", "sigmoid", "hs97_g", "hs97_h"]

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    # Hochreiter & Schmidhuber 1997, Appendix A.1: logistic functions centred on zero,
    # g(x) = 4σ(x) - 2 into [-2, 2] for the cell input, h(x) = 2σ(x) - 1 into [-1, 1] for the output.
    "hs97_g": lambda x: 4 * jax.nn.sigmoid(x) - 2,
    "hs97_h": lambda x: 2 * jax.nn.sigmoid(x) - 1,
}

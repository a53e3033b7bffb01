"""What a hidden state emits: one of V symbols, or a vector of independent normal numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array

LOG_2PI = math.log(2 * math.pi)


class Categorical(NamedTuple):
    """x in 0 ... V - 1 with log p(x | state) = log_probs[state, x].

    log_probs: [S, V]
    """

    log_probs: Array

    def log_likelihood(self, xs: Array) -> Array:
        """xs [...] integers -> log p(x | state) [..., S]."""
        return jnp.moveaxis(jnp.asarray(self.log_probs)[:, xs], 0, -1)

    def sample(self, key: Array, states: Array) -> Array:
        """states [...] -> xs [...]."""
        return jax.random.categorical(key, jnp.asarray(self.log_probs)[states])

    def fitted(self, xs: Array, weights: Array, smoothing: float = 0.0) -> Categorical:
        """The emissions of greatest likelihood for xs [T, B] that count weights [T, B, S].

            p(v | s) = (Σ_t w_t(s) [x_t = v] + smoothing) / (Σ_t w_t(s) + V·smoothing)

        A state of no weight keeps what it has.
        """
        kinds = self.log_probs.shape[-1]
        flat = weights.reshape(-1, weights.shape[-1])
        counts = jnp.zeros((kinds, flat.shape[-1]), flat.dtype).at[xs.reshape(-1)].add(flat).T
        return Categorical(log_shares(counts + smoothing, self.log_probs))


class Gaussian(NamedTuple):
    """x [D] with log p(x | state) = Σ_d log N(x_d; mean[state, d], variance[state, d]).

    mean, variance: [S, D]
    """

    mean: Array
    variance: Array

    def log_likelihood(self, xs: Array) -> Array:
        """xs [..., D] -> log p(x | state) [..., S]."""
        off = xs[..., None, :] - self.mean
        return -0.5 * jnp.sum(off**2 / self.variance + jnp.log(self.variance) + LOG_2PI, -1)

    def sample(self, key: Array, states: Array) -> Array:
        """states [...] -> xs [..., D]."""
        noise = jax.random.normal(key, (*states.shape, self.mean.shape[-1]), self.mean.dtype)
        return jnp.asarray(self.mean)[states] + jnp.sqrt(self.variance)[states] * noise

    def fitted(self, xs: Array, weights: Array, floor: float = 1e-6) -> Gaussian:
        """The emissions of greatest likelihood, no variance below floor, for xs [T, B, D] and weights [T, B, S].

            mean(s) = Σ_t w_t(s) x_t / Σ_t w_t(s),     variance(s) = Σ_t w_t(s) (x_t - mean(s))² / Σ_t w_t(s)

        A state of no weight keeps what it has.
        """
        flat, seen = weights.reshape(-1, weights.shape[-1]), xs.reshape(-1, xs.shape[-1])
        total = flat.sum(0)[:, None]
        safe = jnp.where(total > 0, total, 1)
        mean = flat.T @ seen / safe
        variance = jnp.einsum("ns,nsd->sd", flat, (seen[:, None] - mean) ** 2) / safe
        kept = total > 0
        return Gaussian(jnp.where(kept, mean, self.mean), jnp.where(kept, jnp.maximum(variance, floor), self.variance))


def log_shares(counts: Array, otherwise: Array) -> Array:
    """log(count / sum of its row), rows on the last axis; a row of zeros is taken from `otherwise`."""
    total = counts.sum(-1, keepdims=True)
    share = jnp.log(counts / jnp.where(total > 0, total, 1))
    return jnp.where(total > 0, share, otherwise)

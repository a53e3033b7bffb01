"""Attention: how well a query fits each place of a sequence, and the mean of the sequence so weighed."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from seqjax.types import Array, UserError

Kind = Literal["additive", "multiplicative", "none"]


class Additive(nn.Module):
    """score(q, k) = v · tanh(W q + U k). (Bahdanau, Cho & Bengio 2015, section A.1.2)"""

    width: int

    def setup(self) -> None:
        """Flax's place for parts."""
        self.w = nn.Dense(self.width, use_bias=False)
        self.u = nn.Dense(self.width, use_bias=False)
        self.v = nn.Dense(1, use_bias=False)

    def __call__(self, query: Array, encoded: Array) -> Array:
        """Touches every part once, to make its parameters."""
        return self.scores(query, self.project(encoded))

    def project(self, encoded: Array) -> Array:
        """What of the places does not depend on the query, [B, S, H] -> [B, S, A]; made once a sequence."""
        return self.u(encoded)

    def scores(self, query: Array, projected: Array) -> Array:
        """query [B, Q] -> [B, S]."""
        return self.v(jnp.tanh(self.w(query)[:, None] + projected))[..., 0]


class Multiplicative(nn.Module):
    """score(q, k) = q · W k. (Luong, Pham & Manning 2015, section 3.1, 'general')"""

    width: int

    def setup(self) -> None:
        """Flax's place for parts."""
        self.w = nn.Dense(self.width, use_bias=False)

    def __call__(self, query: Array, encoded: Array) -> Array:
        """Touches every part once, to make its parameters."""
        return self.scores(query, self.project(encoded))

    def project(self, encoded: Array) -> Array:
        """[B, S, H] -> [B, S, Q]."""
        return self.w(encoded)

    def scores(self, query: Array, projected: Array) -> Array:
        """query [B, Q] -> [B, S]."""
        return jnp.einsum("bq,bsq->bs", query, projected)


def attention(kind: Kind, width: int) -> Additive | Multiplicative | None:
    """The scores of that name; width is Q, and A. Raises UserError for another name."""
    kinds = {"additive": Additive, "multiplicative": Multiplicative}
    if kind != "none" and kind not in kinds:
        raise UserError(f"attention={kind!r}; expected 'additive', 'multiplicative' or 'none'")
    return kinds[kind](width) if kind in kinds else None


def attend(scores: Array, encoded: Array, exists: Array) -> tuple[Array, Array]:
    """Σ_s a_s h_s [B, H] and a = softmax over the places that exist [B, S]; others have weight 0."""
    weights = jax.nn.softmax(jnp.where(exists, scores, -jnp.inf), -1)
    return jnp.einsum("bs,bsh->bh", weights, encoded), weights

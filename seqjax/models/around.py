"""What stands around the cells of an encoder and a decoder, in Flax: embeddings, bridge, attention, readout."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from seqjax.models.attention import Additive, Multiplicative, attend
from seqjax.types import Array


class Around(nn.Module):
    """The Flax parts: what reads both sides, the bridge, attention and the readout."""

    symbols: int
    answers: int
    embedding: int
    carry_sizes: tuple[int, ...]
    width: int
    scores: Additive | Multiplicative | None
    vectors: bool = False

    def setup(self) -> None:
        """Flax's place for parts."""
        read = (lambda _: nn.Dense(self.embedding)) if self.vectors else (lambda size: nn.Embed(size, self.embedding))
        self.source, self.target = read(self.symbols), read(self.answers)
        self.bridge = [nn.Dense(size) for size in self.carry_sizes]
        self.combine = nn.Dense(self.width, use_bias=False)
        self.head = nn.Dense(self.answers)
        self.fit = self.scores

    def __call__(self, width: int) -> None:
        """Touches every part once, to make its parameters."""
        encoded = jnp.zeros((1, 1, width))
        one = lambda size: jnp.zeros((1, size)) if self.vectors else jnp.zeros((1,), jnp.int32)  # noqa: E731
        self.source(one(self.symbols)), self.target(one(self.answers)), self.begin(encoded[0]), self.project(encoded)
        h = jnp.zeros((1, self.width))
        self.answer(self.look(h, encoded, self.project(encoded), jnp.ones((1, 1), bool))[0])

    def read(self, steps: Array) -> Array:
        """What is read at each step of the source, as vectors."""
        return self.source(steps)

    def said(self, steps: Array) -> Array:
        """What was written, as vectors."""
        return self.target(steps)

    def begin(self, summary: Array) -> list[Array]:
        """What is added to each leaf of the decoder's initial carries: tanh(W · summary + b)."""
        return [jnp.tanh(dense(summary)) for dense in self.bridge]

    def project(self, encoded: Array) -> Array:
        """What attention needs of the places, once a sequence."""
        return jnp.zeros((*encoded.shape[:2], 0)) if self.fit is None else self.fit.project(encoded)

    def look(self, h: Array, encoded: Array, projected: Array, exists: Array) -> tuple[Array, Array]:
        """h̃ = tanh(W [c; h]) with the context c, or tanh(W h) without attention; and the weights."""
        if self.fit is None:
            return jnp.tanh(self.combine(h)), jnp.zeros(exists.shape, h.dtype)
        context, weights = attend(self.fit.scores(h, projected), encoded, exists)
        return jnp.tanh(self.combine(jnp.concatenate([context, h], -1))), weights

    def answer(self, features: Array) -> Array:
        """h̃ -> logits, or the vector that is written."""
        return self.head(features)

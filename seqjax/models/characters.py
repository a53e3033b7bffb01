"""What a token's characters say of it: a convolution over them, and the most that each filter found."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from seqjax.models.convolution import by_product
from seqjax.types import Array

WINDOW = 3  # characters
EMBEDDING = 32


class CharacterEncoder(nn.Module):
    """c_k = max_i ReLU(w_k · [e(x_{i-1}), e(x_i), e(x_{i+1})] + b_k) over the characters x_i of a token.

    Number 0 stands for no character; it is embedded as zeros, and no maximum is taken there. A token without
    characters gives zeros. (Ma & Hovy 2016, figure 1; dos Santos & Zadrozny 2014)
    """

    characters: int
    width: int

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        """Characters [..., C] of tokens -> [..., width]."""
        there = (tokens > 0)[..., None]
        vectors = nn.Embed(self.characters, EMBEDDING)(tokens) * there
        found = nn.relu(nn.Conv(self.width, (WINDOW,), conv_general_dilated=by_product)(vectors))
        return jnp.max(jnp.where(there, found, 0), -2)

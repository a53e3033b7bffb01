"""A sequence in, answers out: layers of cells in one or two directions, and a linear readout."""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen import linear

from seqjax.models.characters import CharacterEncoder
from seqjax.models.images import ImageEncoder
from seqjax.models.stack import ends, init_stack, run_stack, stack_of
from seqjax.types import Array, Cell, Layers, Model, PyTree, UserError
from seqjax.unroll import find_strategy

LARGEST_SCALE = 1e6  # of weights drawn from ± so much


class Surroundings(nn.Module):
    """The Flax parts of a model: what embeds its tokens or looks at its images, and what reads its last layer."""

    output_size: int
    tokens: int | None
    embedding: int | None
    characters: int | None = None
    character_width: int = 0
    image: tuple[int, int, int] | None = None
    scale: float | None = None

    def setup(self) -> None:
        """Flax's place for parts."""
        drawn = None if self.scale is None else partial(jax.random.uniform, minval=-self.scale, maxval=self.scale)
        self.head = nn.Dense(self.output_size, kernel_init=drawn or linear.default_kernel_init)
        embed = partial(nn.Embed, embedding_init=drawn or linear.default_embed_init)
        self.embed = embed(self.tokens, self.embedding) if self.tokens and self.embedding else None
        self.look = ImageEncoder(self.image, self.embedding) if self.image and self.embedding else None
        self.spell = CharacterEncoder(self.characters, self.character_width) if self.characters else None

    def __call__(self, inputs: Array, width: int) -> Array:
        """Touches every part once, to make its parameters."""
        self.encode(inputs)
        return self.head(jnp.zeros((1, width)))

    def encode(self, inputs: Array) -> Array:
        """Tokens [T, B] to vectors [T, B, D]: learned, or one-hot. Vectors stay as they are, but for images."""
        if self.tokens is None:
            return inputs if self.look is None else self.look(inputs)
        if self.spell is not None:
            inputs, characters = inputs[..., 0], inputs[..., 1:]
        vectors = self.embed(inputs) if self.embed else jax.nn.one_hot(inputs, self.tokens)
        return vectors if self.spell is None else jnp.concatenate([vectors, self.spell(characters)], -1)

    def answer(self, features: Array) -> Array:
        """[..., H] -> [..., O]."""
        return self.head(features)


def sequence_model(
    cell: Cell,
    input_size: int,
    output_size: int,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    readout: Literal["every", "last"] = "every",
    tokens: bool = False,
    embedding: int | None = None,
    characters: int | None = None,
    character_width: int = 64,
    image: tuple[int, int, int] | None = None,
    around_scale: float | None = None,
    strategy: str = "auto",
) -> Model:
    """A stack of one cell over the sequence, read by a linear layer.

    The first layer reads the inputs, each further one the outputs of that below. With two
    directions, each layer has a second set of parameters that reads from the last valid step to
    the first, and hands on both outputs side by side. (Schuster & Paliwal 1997; Graves et al. 2013)

    Args:
        cell: the Cell of every layer.
        input_size: D, or the number of symbols where tokens is True.
        output_size: O.
        layers: depth.
        bidirectional: read each sequence both ways.
        dropout: share of the outputs between layers that is dropped while training, new at every
            step, never on the recurrent path. (Zaremba, Sutskever & Vinyals 2014)
        input_dropout: share of what the first layer reads that is dropped while training.
        readout: 'every' answers at each step [T, B, O]; 'last' answers once [B, O], from the output
            at the last valid step and, read backwards, from the output at the first.
        tokens: inputs are integers [T, B].
        embedding: width of the learned embedding of tokens, or of what a convolution makes of images; None for one-hot
            vectors, and for images as they are.
        characters: how many characters there are, where inputs are tokens and their characters
            [T, B, 1 + C]; see `CharacterEncoder`. None where a token is but a number.
        character_width: width of what is made of the characters, and joined to the token's vector.
        image: rows, columns and channels, where each input is an image; see `ImageEncoder`.
        around_scale: readout and embedding of tokens begin in U[-around_scale, around_scale], as was usual before
            2010; None for Flax's own.
        strategy: how the cells run over time; see `unroll`.

    Raises:
        UserError: fewer than one layer, a dropout outside [0, 1), dropout in a single layer, an
            embedding of vectors, a width below 1, an around_scale that is not above 0, or an unknown strategy.
    """
    find_strategy(strategy)
    if layers < 1:
        raise UserError(f"layers={layers}; expected at least 1")
    for name, share in (("dropout", dropout), ("input_dropout", input_dropout)):
        if not 0 <= share < 1:
            raise UserError(f"{name}={share}; expected at least 0 and less than 1")
    if dropout and layers == 1:
        raise UserError(f"dropout={dropout} acts between layers; it needs layers of 2 or more, not 1")
    if embedding is not None and not (tokens or image):
        raise UserError(f"embedding={embedding}, but the task's inputs are vectors; leave it out")
    if embedding is not None and embedding < 1:
        raise UserError(f"embedding={embedding}; expected at least 1")
    if around_scale is not None and not 0 < around_scale <= LARGEST_SCALE:
        raise UserError(f"around_scale={around_scale}; expected a positive number up to {LARGEST_SCALE:g}, or nothing")
    if character_width < 1:
        raise UserError(f"character_width={character_width}; expected at least 1")
    around = Surroundings(
        output_size, input_size if tokens else None, embedding, characters, character_width, image, around_scale
    )
    ways = 2 if bidirectional else 1
    width_in = (embedding or input_size) + (character_width if characters else 0)

    def init(key: Array) -> PyTree:
        key_around, *keys = jax.random.split(key, 1 + layers * ways)
        params, width = init_stack(keys, cell, width_in, ways)
        symbols = jnp.zeros((1, 1, 2) if characters else (1, 1), jnp.int32)
        inputs = symbols if tokens else jnp.zeros((1, 1, input_size))
        return params | {"around": around.init(key_around, inputs, width)["params"]}

    def encode(params: PyTree, inputs: Array) -> Array:
        return around.apply({"params": params["around"]}, inputs, method="encode")

    def stack(params: PyTree) -> Layers:
        return stack_of(cell, params)

    def read(params: PyTree, ys: Array, lengths: Array | None, inputs: Array | None = None) -> Array:
        ys = ends(ys, lengths, ways) if readout == "last" else ys
        return around.apply({"params": params["around"]}, ys, method="answer")

    def apply(
        params: PyTree,
        inputs: Array,
        lengths: Array | None = None,
        *,
        carry: PyTree | None = None,
        nudge: PyTree | None = None,
        dropout_key: Array | None = None,
        share: tuple[int, Array | int] = (1, 0),
    ) -> tuple[Array, PyTree]:
        ys, carries = run_stack(
            stack(params),
            encode(params, inputs),
            lengths,
            carry=carry,
            nudge=nudge,
            dropout=dropout,
            input_dropout=input_dropout,
            dropout_key=dropout_key,
            strategy=strategy,
            share=share,
        )
        return read(params, ys, lengths), carries

    return Model(init, apply, encode, stack, read)

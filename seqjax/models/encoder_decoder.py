"""Encoder and decoder: a sequence is read, and another written step by step, with or without attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.models.around import Around
from seqjax.models.attention import Kind, attention
from seqjax.models.decoding import beam, greedy, without
from seqjax.models.stack import drop, ends, first_step, init_stack, run_stack, stack_of
from seqjax.types import Array, Cell, Layers, Model, Pair, PyTree, UserError
from seqjax.unroll import find_strategy

END, BEGIN, UNKNOWN = 0, 1, 2  # the numbers that a target vocabulary begins with


class EncoderDecoder(NamedTuple):
    """The Model, and its decoder step by step.

    start: (params, source [S, B], lengths) -> (memory, state), leaves [B, ...]
    step:  (params, memory, state, token [B]) -> (state, (logits [B, V], weights [B, S])); weights are zeros
           without attention
    """

    model: Model
    start: Callable[[PyTree, Array, Array | None], tuple[PyTree, PyTree]]
    step: Callable[[PyTree, PyTree, PyTree, Array], tuple[PyTree, tuple[Array, Array]]]


def encoder_decoder(
    cell: Cell,
    input_size: int,
    output_size: int,
    *,
    embedding: int,
    layers: int = 1,
    bidirectional: bool = True,
    attention_kind: Kind = "additive",
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    beam_width: int = 1,
    length_penalty: float = 1.0,
    longest: int = 50,
    vectors: bool = False,
    strategy: str = "auto",
) -> EncoderDecoder:
    """An encoder's stack reads the source; a decoder's stack of the same cell writes the target.

        s_u = cell(s_{u-1}, [e(y_{u-1}); h̃_{u-1}]),   c_u = Σ_s a_us enc_s,   a_u = softmax(score(h_u, enc)),
        h̃_u = tanh(W [c_u; h_u]),   p(y_u | y_<u, x) = softmax(V h̃_u + b)

    with h_u the output of the decoder's top layer. This order, with h̃ fed back, is that of Luong, Pham & Manning
    2015 (sections 3.1 and 3.3) for both kinds of scores; Bahdanau, Cho & Bengio 2015 look with s_{u-1} before the step
    and read out by a maxout layer. The decoder begins with the cell's initial carries plus tanh(W · summary) for
    every component, the summary being the encoder's last output in each direction: so that it fits any cell, and
    depends on the encoder's outputs alone. Without attention that is all the decoder knows of the source.
    (Sutskever, Vinyals & Le 2014; Cho et al. 2014)

    Of vectors, as of a time series, e is a linear layer and y_u = V h̃_u + b. The decoder reads said[0] and from then on
    what it wrote itself, in training too: what follows in `said` is there for its length alone.

    Args:
        cell: the Cell of every layer; its carry of floating point, its output as wide whatever it reads.
        input_size, output_size: symbols of source and target; target 0 is the end, 1 the beginning, 2 <unk>. Or the
            sizes of their vectors.
        embedding: width of both embeddings.
        layers: depth of encoder and of decoder.
        bidirectional: the encoder reads both ways.
        attention_kind: 'additive', 'multiplicative' or 'none'.
        dropout: share dropped between layers and before the readout while training.
        input_dropout: share of the embedded source and target dropped while training.
        beam_width: hypotheses kept where the model decodes; 1 is greedy.
        length_penalty: see `decoding.beam`.
        longest: symbols written at most, the end included.
        vectors: source and target are vectors.
        strategy: how the encoder's cells run over time; see `unroll`.

    Raises:
        UserError: a number out of its range, an unknown kind of attention or strategy, or a cell whose output is
            wider where it reads more.
    """
    find_strategy(strategy)
    for name, value in {"layers": layers, "embedding": embedding, "beam": beam_width, "longest": longest}.items():
        if value < 1:
            raise UserError(f"{name}={value}; expected at least 1")
    for name, share in (("dropout", dropout), ("input_dropout", input_dropout)):
        if not 0 <= share < 1:
            raise UserError(f"{name}={share}; expected at least 0 and less than 1")
    attention(attention_kind, 1)
    ways = 2 if bidirectional else 1

    one, wider = (
        first_step(cell, jax.eval_shape(lambda key, size=size: cell.init(key, size), jax.random.key(0)), size)
        for size in (1, 2)
    )
    width = one[1].shape[-1]
    if wider[1].shape[-1] != width:
        raise UserError("a cell whose output is wider where it reads more, as skip, has no place in a network that "
                        "writes; expected a cell of one width")  # fmt: skip
    sizes = tuple(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(one[0]))
    kind = attention(attention_kind, width)
    around = Around(input_size, output_size, embedding, layers * sizes, width, kind, vectors)

    def part(params: PyTree, method: str, *arguments: Array) -> PyTree:
        return around.apply({"params": params["around"]}, *arguments, method=method)

    def init(key: Array) -> PyTree:
        key_around, *keys = jax.random.split(key, 1 + layers * (ways + 1))
        encoder, encoded = init_stack(keys[: layers * ways], cell, embedding, ways)
        first, *others = keys[layers * ways :]
        decoder = {"layer_0": (cell.init(first, embedding + width),)}
        decoder |= {f"layer_{n}": (cell.init(key, width),) for n, key in enumerate(others, 1)}
        return encoder | {"decoder": decoder, "around": around.init(key_around, encoded)["params"]}

    def encode(params: PyTree, inputs: Pair) -> Array:
        return part(params, "read", inputs.source)

    def stack(params: PyTree) -> Layers:
        return stack_of(cell, params)

    def begin(params: PyTree, ys: Array, lengths: Array | None) -> tuple[PyTree, PyTree]:
        """Memory and state before the first symbol, from the encoder's outputs [S, B, H]."""
        count = ys.shape[1]
        encoded = jnp.swapaxes(ys, 0, 1)
        exists = jnp.arange(len(ys)) < (jnp.full(count, len(ys)) if lengths is None else lengths)[:, None]
        pushes = iter(part(params, "begin", ends(ys, lengths, ways)))
        carries = [
            jax.tree.map(lambda leaf: leaf + next(pushes).reshape(leaf.shape).astype(leaf.dtype), carry)
            for carry in (way.cell.initial_carry(way.params, (count,)) for (way,) in stack_of(cell, params["decoder"]))
        ]
        memory = (encoded, part(params, "project", encoded), exists)
        return memory, (carries, jnp.zeros((count, width), ys.dtype))

    def look(params: PyTree, memory: PyTree, state: PyTree, x: Array, key: Array | None) -> tuple[PyTree, Array]:
        """One step from the embedded symbol x [B, E]: the next state, whose second part is h̃, and the weights."""
        carries, h = state
        h, after = jnp.concatenate([x, h], -1), []
        for depth, ((way,), carry) in enumerate(zip(stack_of(cell, params["decoder"]), carries)):
            h = drop(h, dropout if depth else 0.0, key, depth)
            carry, h = way.cell.step(way.params, carry, h)
            after.append(carry)
        h, weights = part(params, "look", h, *memory)
        return (after, h), weights

    def follow(
        params: PyTree, ys: Array, lengths: Array | None, said: Array, key: Array | None, teacher_forcing: Array | None
    ) -> tuple[Array, Array]:
        """h̃ [U, B, H] and weights [U, B, S] where the decoder reads `said` [U, B], or at times what it wrote itself."""
        memory, state = begin(params, ys, lengths)
        steps = jnp.arange(len(said))
        keys = None if key is None else jax.vmap(lambda n: jax.random.fold_in(key, n))(layers + 2 + steps)

        def embedded(steps: Array, place: int) -> Array:
            return drop(part(params, "said", steps), input_dropout, key, place)

        if teacher_forcing is None and not vectors:

            def step(state: PyTree, now: tuple[Array, Array | None]) -> tuple[PyTree, tuple[Array, Array]]:
                state, weights = look(params, memory, state, *now)
                return state, (state[1], weights)

            return jax.lax.scan(step, state, (embedded(said, layers), keys))[1]

        def own(before: PyTree, now: tuple[Array, Array, Array | None]) -> tuple[PyTree, tuple[Array, Array]]:
            state, last = before
            truth, number, key = now
            forced = number == 0
            if teacher_forcing is not None:
                forced = forced | (jax.random.uniform(key, truth.shape) < teacher_forcing)
            x = drop(part(params, "said", jnp.where(forced, truth, last)), input_dropout, key, layers)
            state, weights = look(params, memory, state, x, key)
            last = part(params, "answer", state[1])
            last = last if vectors else jnp.argmax(last, -1).astype(truth.dtype)
            return (state, last), (state[1], weights)

        return jax.lax.scan(own, (state, said[0]), (said, steps, keys))[1]

    def answer(params: PyTree, features: Array, key: Array | None) -> Array:
        return part(params, "answer", drop(features, dropout, key, layers + 1))

    def read(params: PyTree, ys: Array, lengths: Array | None, inputs: Pair) -> Array:
        return answer(params, follow(params, ys, lengths, inputs.said, None, None)[0], None)

    def encoded(
        params: PyTree, source: Array, lengths: Array | None, key: Array | None = None, **options: PyTree
    ) -> tuple[Array, PyTree]:
        return run_stack(
            stack(params),
            part(params, "read", source),
            lengths,
            dropout=dropout,
            input_dropout=input_dropout,
            dropout_key=key,
            strategy=strategy,
            **options,
        )

    def apply(
        params: PyTree,
        inputs: Pair,
        lengths: Array | None = None,
        *,
        carry: PyTree | None = None,
        nudge: PyTree | None = None,
        dropout_key: Array | None = None,
        teacher_forcing: Array | None = None,
    ) -> tuple[Array, PyTree]:
        here, there = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        if teacher_forcing is not None and dropout_key is None:
            raise UserError("teacher_forcing needs a dropout_key, from which it is drawn what is forced")
        ys, carries = encoded(params, inputs.source, lengths, here, carry=carry, nudge=nudge)
        features, _ = follow(params, ys, lengths, inputs.said, there, teacher_forcing)
        return answer(params, features, there), carries

    def start(params: PyTree, source: Array, lengths: Array | None) -> tuple[PyTree, PyTree]:
        return begin(params, encoded(params, source, lengths)[0], lengths)

    def step(params: PyTree, memory: PyTree, state: PyTree, token: Array) -> tuple[PyTree, tuple[Array, Array]]:
        state, weights = look(params, memory, state, part(params, "said", token), None)
        return state, (part(params, "answer", state[1]), weights)

    def decode(params: PyTree, inputs: Pair, lengths: Array | None) -> Array:
        memory, state = start(params, inputs.source, lengths)

        def next_symbol(memory: PyTree, state: PyTree, token: Array) -> tuple[PyTree, Array]:
            state, (logits, _) = step(params, memory, state, token)
            return state, logits

        first = jnp.full(inputs.source.shape[1], BEGIN, jnp.int32)
        arguments = without(next_symbol, (BEGIN, UNKNOWN)), memory, state, first, END, longest
        if beam_width == 1:
            return greedy(*arguments).tokens
        return beam(*arguments, width=beam_width, length_penalty=length_penalty)[0].tokens

    def weights(params: PyTree, inputs: Pair, lengths: Array | None) -> Array:
        return follow(params, encoded(params, inputs.source, lengths)[0], lengths, inputs.said, None, None)[1]

    return EncoderDecoder(Model(init, apply, encode, stack, read, None if vectors else decode, weights), start, step)

"""Decoding: from a step that says what may come next to a whole sequence, greedy, sampled or by a beam.

A step is (memory, state, token [N]) -> (state, log chances or logits [N, V]); each call is one step of the
network, and n symbols cost n steps. Leaves of memory and state begin with the axis N. A sequence ends with the
symbol `end`, which is counted and kept; past it `end` is repeated and adds nothing to its score. Everything has a fixed
maximal length, and stops as soon as all sequences have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.types import Array, PyTree, UserError

Step = Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]


class Decoded(NamedTuple):
    """Sequences and how likely they are.

    tokens:  [U, B] int32, `end` past each one's end
    lengths: [B] symbols with the final `end`, or U where none came
    score:   [B] log chance under the step's own distribution, in nats
    """

    tokens: Array
    lengths: Array
    score: Array


def greedy(step: Step, memory: PyTree, state: PyTree, begin: Array, end: int, most: int) -> Decoded:
    """At every step the symbol of greatest chance. begin: [B] what is read first."""
    return _follow(lambda key, logits: jnp.argmax(logits, -1), step, memory, state, begin, end, most, jax.random.key(0))


def sampled(
    key: Array,
    step: Step,
    memory: PyTree,
    state: PyTree,
    begin: Array,
    end: int,
    most: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Decoded:
    """At every step a symbol drawn from softmax(logits / temperature), after `narrowed` by top_k and top_p.

    Raises:
        UserError: a temperature that is not positive, a top_k below 1, a top_p outside (0, 1].
    """
    if not temperature > 0:
        raise UserError(f"temperature={temperature}; expected a positive number")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k={top_k}; expected at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p}; expected more than 0 and at most 1")

    def choose(key: Array, logits: Array) -> Array:
        return jax.random.categorical(key, narrowed(logits / temperature, top_k, top_p))

    return _follow(choose, step, memory, state, begin, end, most, key)


def narrowed(logits: Array, top_k: int | None, top_p: float | None) -> Array:
    """logits [..., V] with -inf at what may not be drawn.

    top_k keeps the k largest (Fan, Lewis & Dauphin 2018); top_p keeps the fewest largest whose chances add up to p
    or more (Holtzman et al. 2020), after top_k. Symbols exactly as likely as the last one kept are kept too.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    if top_p is not None and top_p < 1:  # in 32 bits the chances of all but the rarest add up to 1
        ordered = jnp.flip(jnp.sort(logits, -1), -1)
        before = jnp.cumsum(jax.nn.softmax(ordered), -1) - jax.nn.softmax(ordered)
        least = jnp.min(jnp.where(before < top_p, ordered, jnp.inf), -1, keepdims=True)
        logits = jnp.where(logits >= least, logits, -jnp.inf)
    return logits


def beam(
    step: Step,
    memory: PyTree,
    state: PyTree,
    begin: Array,
    end: int,
    most: int,
    *,
    width: int = 5,
    length_penalty: float = 0.0,
) -> tuple[Decoded, Decoded]:
    """The best sequence found by keeping the `width` best beginnings of each, and all that were kept.

    Beginnings are ranked by their log chance; those that have ended stay among them. At the end they
    are ranked by log chance / length^length_penalty. (Graves 2012; the penalty as in Wu et al. 2016, without its
    constants) Width 1 is greedy decoding; a width of all sequences there are is exhaustive search.

    Returns:
        The best [U, B], and all, best first, [U, B, K], [B, K].

    Raises:
        UserError: a width below 1.
    """
    if width < 1:
        raise UserError(f"width={width}; expected at least 1")
    count = len(begin)
    spread = lambda tree: jax.tree.map(lambda leaf: jnp.repeat(leaf, width, 0), tree)  # noqa: E731
    memory = spread(memory)
    first = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)  # one beginning, not the same `width` times
    start = (
        jnp.zeros((), jnp.int32),
        spread(state),
        jnp.repeat(begin, width),
        jnp.full((most, count, width), end, jnp.int32),
        jnp.broadcast_to(first, (count, width)),
        jnp.zeros((count, width), jnp.int32),
        jnp.zeros((count, width), bool),
    )

    def going(at: tuple) -> Array:
        return (at[0] < most) & ~jnp.all(at[-1] | (at[4] == -jnp.inf))

    def extend(at: tuple) -> tuple:
        number, state, token, tokens, scores, lengths, ended = at
        state, logits = step(memory, state, token)
        symbols = logits.shape[-1]
        chances = jax.nn.log_softmax(logits).reshape(count, width, symbols)
        only_end = jnp.where(jnp.arange(symbols) == end, 0.0, -jnp.inf)
        chances = jnp.where(ended[..., None], only_end, chances)
        scores, places = jax.lax.top_k((scores[..., None] + chances).reshape(count, -1), width)
        parents, said = places // symbols, (places % symbols).astype(jnp.int32)
        rows = (jnp.arange(count)[:, None] * width + parents).reshape(-1)
        state = jax.tree.map(lambda leaf: leaf[rows], state)
        follow = lambda leaf: jnp.take_along_axis(leaf, parents, -1)  # noqa: E731
        tokens = jnp.take_along_axis(tokens, parents[None], -1).at[number].set(said)
        ended, lengths = follow(ended), follow(lengths)
        lengths = lengths + ~ended
        return number + 1, state, said.reshape(-1), tokens, scores, lengths, ended | (said == end)

    *_, tokens, scores, lengths, _ = jax.lax.while_loop(going, extend, start)
    worth = scores / jnp.maximum(lengths, 1) ** length_penalty
    order = jnp.argsort(-worth, -1, stable=True)
    kept = Decoded(
        jnp.take_along_axis(tokens, order[None], -1),
        jnp.take_along_axis(lengths, order, -1),
        jnp.take_along_axis(scores, order, -1),
    )
    return Decoded(kept.tokens[..., 0], kept.lengths[:, 0], kept.score[:, 0]), kept


def without(step: Step, never: Sequence[int]) -> Step:
    """The step with these symbols made impossible."""

    def narrower(memory: PyTree, state: PyTree, token: Array) -> tuple[PyTree, Array]:
        state, logits = step(memory, state, token)
        return state, logits.at[..., jnp.asarray(never, jnp.int32)].set(-jnp.inf)

    return narrower if never else step


def _follow(
    choose: Callable[[Array, Array], Array],
    step: Step,
    memory: PyTree,
    state: PyTree,
    begin: Array,
    end: int,
    most: int,
    key: Array,
) -> Decoded:
    """One sequence for each beginning, each symbol chosen from (key of the step, logits)."""
    count = len(begin)
    zeros = jnp.zeros(count, jnp.int32)
    start = (zeros[0], state, begin, jnp.full((most, count), end, jnp.int32), jnp.zeros(count), zeros, zeros > 0)

    def going(at: tuple) -> Array:
        return (at[0] < most) & ~jnp.all(at[-1])

    def extend(at: tuple) -> tuple:
        number, state, token, tokens, score, lengths, ended = at
        state, logits = step(memory, state, token)
        said = jnp.where(ended, end, choose(jax.random.fold_in(key, number), logits)).astype(jnp.int32)
        chance = jnp.take_along_axis(jax.nn.log_softmax(logits), said[:, None], -1)[:, 0]
        score = score + jnp.where(ended, 0, chance)
        return number + 1, state, said, tokens.at[number].set(said), score, lengths + ~ended, ended | (said == end)

    *_, tokens, score, lengths, _ = jax.lax.while_loop(going, extend, start)
    return Decoded(tokens, lengths, score)

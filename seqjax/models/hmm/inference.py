"""What a hidden Markov model says of a sequence: its likelihood, its states, what comes next.

Sequences lie as everywhere: xs [T, B] or [T, B, D], lengths [B] or None. All sums of chances are
taken in logarithms. Each recursion is a `lax.scan`, or with parallel=True an `associative_scan`,
which takes S times the work and about 2·log2(T) steps in place of T. (Rabiner 1989, section III;
in parallel: Särkkä & García-Fernández 2021, "Temporal parallelization of Bayesian smoothers")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.models.hmm.emissions import Categorical, Gaussian
from seqjax.types import Array
from seqjax.unroll.scan import zero_unless

LEAST = -1e30  # of a logarithm that is taken away, where all chances are zero


class HMM(NamedTuple):
    """S hidden states, their chain, and what they emit.

    log_initial:    [S] log p(z_0)
    log_transition: [S, S] log p(z_t = j | z_{t-1} = i) at [i, j]
    emission:       Categorical or Gaussian
    """

    log_initial: Array
    log_transition: Array
    emission: Categorical | Gaussian


def forward(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Array:
    """α_t(j) = log p(x_0 ... x_t, z_t = j) [T, B, S]; past a sequence's length, α of its last step.

    α_0 = log π + log b(x_0),     α_t(j) = log Σ_i exp(α_{t-1}(i) + log A_ij) + log b_j(x_t)
    """
    return _from_left(hmm, _seen(hmm, xs, lengths), lengths, logsumexp, parallel)


def backward(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Array:
    """β_t(i) = log p(x_{t+1} ... x_{L-1} | z_t = i) [T, B, S]; 0 at the last step and past it.

    β_t(i) = log Σ_j exp(log A_ij + log b_j(x_{t+1}) + β_{t+1}(j))
    """
    return _from_right(hmm, _seen(hmm, xs, lengths), lengths, logsumexp, parallel)


def score(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Array:
    """log p(x_0 ... x_{L-1}) [B], in nats; may be differentiated by the model and, if Gaussian, by xs.

    One step after the other it is a sum of log p(x_t | x_0 ... x_{t-1}), which a text of a million symbols leaves as
    exact as a short one; in parallel α grows with the text, and its last digits are lost.
    """
    return _score(hmm, _seen(hmm, xs, lengths), lengths, parallel)


def posterior(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Array:
    """Smoothing: log p(z_t = j | x_0 ... x_{L-1}) [T, B, S]; past a sequence's length, of its last step."""
    given = hmm, _seen(hmm, xs, lengths), lengths, logsumexp, parallel
    joint = _level(*given)[0] + _from_right(*given, cut=True)
    return joint - logsumexp(joint, -1)[..., None]


def predictive(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Array:
    """log p(x_{t+1} = v | x_0 ... x_t) [T, B, V] of categorical emissions: no predictor can do better.

    Σ_ij p(z_t = i | x_0 ... x_t) A_ij b_j(v), the forward filter one step ahead.
    """
    alpha, _ = _level(hmm, _seen(hmm, xs, lengths), lengths, logsumexp, parallel)
    ahead = logsumexp(hmm.log_transition[:, :, None] + hmm.emission.log_probs, 1)
    return logsumexp((alpha - logsumexp(alpha, -1)[..., None])[..., None] + ahead, -2)


def viterbi(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> tuple[Array, Array]:
    """The likeliest states [T, B] int32, and log p(states, xs) [B]; past a sequence's length the state is -1.

    The scan follows back pointers. In parallel, the best state of a step is that through which the
    best path runs: the largest of (best way to it) + (best way on); among paths that are exactly
    equally good it may mix steps of several.
    """
    seen, exists = _seen(hmm, xs, lengths), existing(xs, lengths)
    best, growth = _level(hmm, seen, lengths, jnp.max, parallel)
    if parallel:
        states = jnp.argmax(best + _from_right(hmm, seen, lengths, jnp.max, True), -1)
    else:
        last = jnp.argmax(best[-1], -1)

        def back(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            before, inside = now  # inside: whether the step after this one exists
            state = jnp.argmax(before + jnp.asarray(hmm.log_transition)[:, after].T, -1)
            state = jnp.where(inside, state, after)
            return state, state

        _, earlier = jax.lax.scan(back, last, (best[:-1], exists[1:]), reverse=True)
        states = jnp.concatenate([earlier, last[None]])
    return jnp.where(exists, states, -1).astype(jnp.int32), jnp.max(best[-1], -1) + jnp.sum(growth, 0)


class Expectations(NamedTuple):
    """How often each thing happens, given the sequences.

    initial:    [S] sequences that begin in a state
    transition: [S, S] passages from one state to the next
    states:     [T, B, S] p(z_t | x), zero past a sequence's length
    score:      scalar, log p of all sequences
    """

    initial: Array
    transition: Array
    states: Array
    score: Array


def expectations(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> Expectations:
    """The E step of Baum and Welch, as the gradient of the log-likelihood.

        ∂ log p(x) / ∂ log A_ij = Σ_t p(z_t = i, z_{t+1} = j | x),     ∂ log p(x) / ∂ log b_j(x_t) = p(z_t = j | x)

    (Eisner 2016, "Inside-outside and forward-backward algorithms are just backprop")
    """

    def total(initial: Array, transition: Array, seen: Array) -> Array:
        return jnp.sum(_score(HMM(initial, transition, hmm.emission), seen, lengths, parallel))

    at = hmm.log_initial, hmm.log_transition, _seen(hmm, xs, lengths)
    value, (initial, transition, states) = jax.value_and_grad(total, (0, 1, 2))(*at)
    return Expectations(initial, transition, states, value)


def sample(hmm: HMM, key: Array, steps: int, batch_size: int) -> tuple[Array, Array]:
    """States [T, B] and what they emit, xs [T, B] or [T, B, D]."""
    key_first, key_chain, key_emission = jax.random.split(key, 3)
    first = jax.random.categorical(key_first, hmm.log_initial, shape=(batch_size,))

    def step(state: Array, key: Array) -> tuple[Array, Array]:
        return jax.random.categorical(key, jnp.asarray(hmm.log_transition)[state]), state

    _, states = jax.lax.scan(step, first, jax.random.split(key_chain, steps))
    return states, hmm.emission.sample(key_emission, states)


def logsumexp(values: Array, axis: int) -> Array:
    """log Σ exp; -inf where all are, with a gradient of zero there and not NaN."""
    most = jax.lax.stop_gradient(jnp.max(values, axis, keepdims=True))
    most = jnp.where(jnp.isfinite(most), most, 0)
    total = jnp.sum(jnp.exp(values - most), axis)
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1)) + jnp.squeeze(most, axis), -jnp.inf)


Total = Callable[..., Array]  # logsumexp or max: (values, axis) -> values without that axis


def existing(xs: Array, lengths: Array | None) -> Array:
    """Which steps exist [T, B]."""
    return jnp.arange(xs.shape[0])[:, None] < jnp.full(xs.shape[1], xs.shape[0] if lengths is None else lengths)


def cleared(xs: Array, lengths: Array | None) -> Array:
    """xs with zeros past the lengths, so that what padding holds takes part in nothing."""
    if lengths is None:
        return xs
    return zero_unless(existing(xs, lengths), xs)


def _seen(hmm: HMM, xs: Array, lengths: Array | None) -> Array:
    """log b_j(x_t) [T, B, S]."""
    return hmm.emission.log_likelihood(cleared(xs, lengths))


def _from_left(hmm: HMM, seen: Array, lengths: Array | None, total: Total, parallel: bool) -> Array:
    """total over z_0 ... z_{t-1} of log p(z_0 ... z_t, x_0 ... x_t) [T, B, S]; stands still past the length."""
    alpha, growth = _level(hmm, seen, lengths, total, parallel)
    return alpha + jnp.cumsum(growth, 0)[..., None]


def _level(hmm: HMM, seen: Array, lengths: Array | None, total: Total, parallel: bool) -> tuple[Array, Array]:
    """`_from_left` without each step's total over the states [T, B, S], and by how much that grew [T, B].

    So a long text loses no digits; in parallel nothing is taken away, and the growth is 0.
    """
    first, none = hmm.log_initial + seen[0], jnp.zeros(seen.shape[:2], seen.dtype)
    if parallel:
        products = jax.lax.associative_scan(_then(total), _steps(hmm, seen[1:], lengths))
        return jnp.concatenate([first[None], total(first[..., None] + products, -2)]), none

    def level(alpha: Array) -> tuple[Array, Array]:
        growth = total(alpha, -1)
        return alpha - jnp.where(jnp.isfinite(growth), growth, 0)[..., None], growth

    def step(alpha: Array, now: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        t, seen = now
        after, growth = level(total(alpha[..., None] + hmm.log_transition, -2) + seen)
        if lengths is not None:
            after, growth = jnp.where((t < lengths)[:, None], after, alpha), jnp.where(t < lengths, growth, 0)
        return after, (after, growth)

    first, begins = level(first)
    again = jax.checkpoint(step, prevent_cse=False)  # its gradient keeps [T, B, S], and not S times as much
    _, (later, growth) = jax.lax.scan(again, first, (jnp.arange(1, len(seen)), seen[1:]))
    return jnp.concatenate([first[None], later]), jnp.concatenate([begins[None], growth])


def _score(hmm: HMM, seen: Array, lengths: Array | None, parallel: bool) -> Array:
    alpha, growth = _level(hmm, seen, lengths, logsumexp, parallel)
    return logsumexp(alpha[-1], -1) if parallel else jnp.sum(growth, 0)


def _from_right(hmm: HMM, seen: Array, lengths: Array | None, total: Total, parallel: bool, cut: bool = False) -> Array:
    """total over z_{t+1} ... of log p(z_{t+1} ..., x_{t+1} ... | z_t) [T, B, S]; 0 at the last step and past it.

    cut: without each step's total over the states, if not in parallel
    """
    last = jnp.zeros_like(seen[0])
    if parallel:
        ahead = jax.lax.associative_scan(
            lambda one, other: _then(total)(other, one), _steps(hmm, seen[1:], lengths), reverse=True
        )
        return jnp.concatenate([total(ahead, -1), last[None]])

    def step(beta: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        t, seen = now
        before = total(hmm.log_transition + (seen + beta)[..., None, :], -1)
        before = before - jnp.maximum(total(before, -1), LEAST)[..., None] if cut else before
        if lengths is not None:
            before = jnp.where((t < lengths)[:, None], before, beta)
        return before, before

    _, earlier = jax.lax.scan(step, last, (jnp.arange(1, len(seen)), seen[1:]), reverse=True)
    return jnp.concatenate([earlier, last[None]])


def _steps(hmm: HMM, seen: Array, lengths: Array | None) -> Array:
    """log p(z_t = j, x_t | z_{t-1} = i) [T - 1, B, S, S] of the steps from 1 on; past the length, nothing moves."""
    moves = hmm.log_transition + seen[..., None, :]
    if lengths is None:
        return moves
    stay = jnp.where(jnp.eye(seen.shape[-1], dtype=bool), 0.0, -jnp.inf).astype(moves.dtype)
    exists = jnp.arange(1, len(seen) + 1)[:, None] < lengths
    return jnp.where(exists[..., None, None], moves, stay)


def _then(total: Total) -> Callable[[Array, Array], Array]:
    """The product of two matrices of log chances [..., S, S], one after the other."""
    return lambda one, other: total(one[..., :, :, None] + other[..., None, :, :], -2)

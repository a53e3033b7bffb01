"""How a hidden Markov model is learned: by counting where states are known, by Baum and Welch where not."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from seqjax.models.hmm.emissions import Categorical, Gaussian, log_shares
from seqjax.models.hmm.inference import HMM, cleared, existing, expectations
from seqjax.types import Array, UserError


def em_step(hmm: HMM, xs: Array, lengths: Array | None = None, *, parallel: bool = False) -> tuple[HMM, Array]:
    """One round of Baum-Welch: the next model, and log p(xs) under the one given. It never falls.

    Each parameter becomes its expected share: of beginnings, of passages, of what is emitted. What
    was never expected stays as it is. (Baum, Petrie, Soules & Weiss 1970; Rabiner 1989, eq. 40)

    Args:
        hmm: the HMM to start from.
        xs: [T, B] symbols or [T, B, D] vectors.
        lengths: [B] steps that exist; None for all T.
        parallel: see `inference`.
    """
    expected = expectations(hmm, xs, lengths, parallel=parallel)
    after = HMM(
        log_shares(expected.initial, hmm.log_initial),
        log_shares(expected.transition, hmm.log_transition),
        hmm.emission.fitted(cleared(xs, lengths), expected.states),
    )
    return after, expected.score


def baum_welch(
    hmm: HMM, xs: Array, lengths: Array | None = None, *, rounds: int = 100, parallel: bool = False
) -> tuple[HMM, Array]:
    """So many rounds of `em_step`: the model, and log p(xs) before each round [rounds]."""
    return jax.lax.scan(lambda hmm, _: em_step(hmm, xs, lengths, parallel=parallel), hmm, length=rounds)


def count(
    states: Array,
    xs: Array,
    lengths: Array | None = None,
    *,
    kinds: int,
    symbols: int | None = None,
    smoothing: float = 1.0,
    floor: float = 1e-6,
) -> HMM:
    """The model of greatest likelihood where the states are known, its counts smoothed.

        A_ij = (passages from i to j + smoothing) / (passages from i + S·smoothing)

    and so for beginnings and for symbols; means and variances of vectors are not smoothed.
    A row without any count, where nothing is added either, is uniform; a Gaussian state without a step
    is a standard normal.

    Args:
        states: [T, B] integers.
        xs: [T, B] symbols, or [T, B, D] vectors.
        lengths: [B] steps that exist; None for all T.
        kinds: S.
        symbols: V; None where xs are vectors.
        smoothing: what every count begins with. (Laplace: 1)
        floor: the least variance.

    Raises:
        UserError: a smoothing below 0; states, or symbols, that are not below S, or V.
    """
    if not isinstance(smoothing, jax.core.Tracer) and smoothing < 0:
        raise UserError(f"smoothing={smoothing}; expected at least 0")
    exists = existing(states, lengths)
    _within("states", states, exists, "kinds", kinds)
    weights = jax.nn.one_hot(states, kinds) * exists[..., None]
    xs = cleared(xs, lengths)
    passages = jnp.einsum("tbi,tbj->ij", weights[:-1], weights[1:])
    even = jnp.full((kinds, kinds), -jnp.log(kinds))
    if symbols is None:
        standard = jnp.zeros((kinds, xs.shape[-1]))
        emission = Gaussian(standard, standard + 1).fitted(xs, weights, floor)
    else:
        _within("xs", xs, exists, "symbols", symbols)
        emission = Categorical(jnp.full((kinds, symbols), -jnp.log(symbols))).fitted(xs, weights, smoothing)
    return HMM(log_shares(weights[0].sum(0) + smoothing, even[0]), log_shares(passages + smoothing, even), emission)


def random_hmm(key: Array, kinds: int, *, symbols: int | None = None, size: int = 1) -> HMM:
    """A model to start from: each row of chances uniform among all such rows; or standard normal means.

    Args:
        key: of the draw.
        kinds: S.
        symbols: V of categorical emissions; None for Gaussian ones.
        size: D of Gaussian emissions, whose variances are 1.
    """
    key_initial, key_transition, key_emission = jax.random.split(key, 3)
    # Exponential numbers, divided by their sum, are uniform on the simplex: a Dirichlet of ones.
    draw = lambda key, *shape: jax.nn.log_softmax(jnp.log(jax.random.exponential(key, shape)))  # noqa: E731
    if symbols is None:
        emission = Gaussian(jax.random.normal(key_emission, (kinds, size)), jnp.ones((kinds, size)))
    else:
        emission = Categorical(draw(key_emission, kinds, symbols))
    return HMM(draw(key_initial, kinds), draw(key_transition, kinds, kinds), emission)


def _within(name: str, values: Array, exists: Array, limit: str, bound: int) -> None:
    """UserError where a value that exists is not one of 0 ... bound - 1; traced values are not looked at."""
    if isinstance(values, jax.core.Tracer):
        return
    wrong = exists & ((values < 0) | (values >= bound))
    if wrong.any():
        found = values[wrong][0]
        raise UserError(f"{name} hold {found}; expected 0 to {bound - 1}, as {limit}={bound}")

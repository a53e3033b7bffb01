"""Hidden Markov: predict the symbols of a random hidden Markov model, of which the best that can be done is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.scoring import cross_entropy
from seqjax.types import Array, Batch, Task, UserError

MEASURED = 4000  # sequences from which the optimum is measured
MOST = 10_000  # states, or symbols
FAR = 1000  # steps after which the filter's uncertainty is taken to stay what it was in the last half of them
SHARE = 0.1  # of the way from the optimum to the baseline that may be left where the task is solved
LEAST = 1e-3  # nats a step that may be left, where memory is worth so little that a share of it is noise


def hidden_markov(
    length: int = 50,
    states: int = 16,
    symbols: int = 4,
    moves: float = 0.02,
    emissions: float = 0.1,
    model_seed: int = 0,
) -> Task:
    """A chain of hidden states, each of which emits a symbol; at every step the next symbol is asked for.

        z_0 ~ π,   z_{t+1} ~ A[z_t],   x_t ~ E[z_t]

    Rows of A and E are drawn once, from Dirichlet distributions, and π is the chain's stationary
    distribution. No predictor is better than the forward filter, which knows A and E:

        p(x_{t+1} | x_0 ... x_t) = Σ_ij p(z_t = i | x_0 ... x_t) A_ij E_j(x_{t+1})

    The score is the loss less the filter's on the same sequences, in nats a step: the distance to the
    best there is; 0 is perfect, up to the noise of a sample.
    Baseline: the best guess from the symbol just read, H(x_{t+1} | x_t) exactly.
    Optimum: the filter's mean entropy over 4,000 sequences, all of the same fixed seed (standard error below .01 in
    all that was tried); from step 1,000 on, what it was in the 500 steps before. Solved: no more than a tenth of the
    way from the optimum to the baseline is left, or .001 nats where that is more. The criterion is ours, and so is
    the task; a next symbol of a hidden chain is asked for in Rabiner 1989, section III.

    Args:
        length: T, symbols that are read.
        states: S, hidden states.
        symbols: V.
        moves, emissions: concentrations of the Dirichlet distributions of A and of E; near 0 a state has
            one successor, or one symbol, and at 1 all rows are equally likely. Few symbols, many states
            and small concentrations make memory worth much.
        model_seed: which model.

    Raises:
        UserError: a length below 1, fewer than 2 states or symbols or more than 10,000, a concentration
            that is not positive, a negative seed.
    """
    for name, value, least in (
        ("length", length, 1),
        ("states", states, 2),
        ("symbols", symbols, 2),
        ("model_seed", model_seed, 0),
    ):
        if value < least:
            raise UserError(f"{name}={value}; expected at least {least}")
    for name, value in (("moves", moves), ("emissions", emissions)):
        if not value > 0:
            raise UserError(f"{name}={value}; expected a positive number")
    for name, value in (("states", states), ("symbols", symbols)):
        if value > MOST:
            raise UserError(f"{name}={value}; expected at most {MOST}: the optimum is measured on {MEASURED} sequences")
    random = np.random.default_rng(model_seed)
    transition = _chances(random, moves, states, states)
    emission = _chances(random, emissions, states, symbols)
    initial = _stationary(transition)
    baseline = _memoryless(initial, transition, emission)
    optimum = min(_optimum(random, initial, transition, emission, length), baseline)
    left = max(SHARE * (baseline - optimum), LEAST)
    first, goes, says = (jnp.asarray(np.log(rows), jnp.float32) for rows in (initial, transition, emission))

    def sample(key: Array, batch_size: int) -> Batch:
        key_first, key_chain, key_symbols = jax.random.split(key, 3)
        start = jax.random.categorical(key_first, first, shape=(batch_size,))

        def step(state: Array, key: Array) -> tuple[Array, Array]:
            return jax.random.categorical(key, goes[state]), state

        _, hidden = jax.lax.scan(step, start, jax.random.split(key_chain, length + 1))
        said = jax.random.categorical(key_symbols, says[hidden]).astype(jnp.int32)
        return Batch(said[:-1], said[1:], jnp.ones((length, batch_size)))

    def filtered(inputs: Array) -> Array:
        """log p(x_{t+1} | x_0 ... x_t) [T, B, V]."""

        def step(before: Array, x: Array) -> tuple[Array, Array]:
            now = before * jnp.exp(says[:, x]).T
            after = now / now.sum(-1, keepdims=True) @ jnp.exp(goes)
            return after, jnp.log(after @ jnp.exp(says))

        start = jnp.broadcast_to(jnp.exp(first), (inputs.shape[1], states))
        return jax.lax.scan(step, start, inputs)[1]

    def above(outputs: Array, batch: Batch) -> Array:
        return cross_entropy(outputs, batch) - cross_entropy(filtered(batch.inputs), batch)

    def solved(metrics: dict[str, Array]) -> Array:
        return metrics["score"] <= left

    return Task(
        sample,
        cross_entropy,
        above,
        solved,
        input_size=symbols,
        output_size=symbols,
        baseline=baseline,
        tokens=True,
        criterion=f"at most {left:.3g} nats a step above the forward filter",
        optimum=optimum,
    )


def _chances(random: np.random.Generator, concentration: float, rows: int, columns: int) -> np.ndarray:
    """Rows of chances, none below 1e-6, so that every symbol can come."""
    chances = random.dirichlet(np.full(columns, concentration), rows) + 1e-6
    return chances / chances.sum(-1, keepdims=True)


def _stationary(transition: np.ndarray) -> np.ndarray:
    """π with π = π A and Σ π = 1."""
    count = len(transition)
    equations = np.vstack([transition.T - np.eye(count), np.ones(count)])
    return np.clip(np.linalg.lstsq(equations, np.eye(count + 1)[count], rcond=None)[0], 1e-9, None)


def _memoryless(initial: np.ndarray, transition: np.ndarray, emission: np.ndarray) -> float:
    """H(x_{t+1} | x_t) in nats: with J = Eᵀ diag(π) A E, -Σ_ab J_ab log(J_ab / Σ_b J_ab)."""
    pairs = emission.T @ (initial[:, None] * transition) @ emission
    return float(-np.sum(pairs * np.log(pairs / pairs.sum(1, keepdims=True))))


def _optimum(
    random: np.random.Generator, initial: np.ndarray, transition: np.ndarray, emission: np.ndarray, length: int
) -> float:
    """The mean over steps and sequences of the entropy of the filter's prediction, in nats."""
    belief = np.tile(initial, (MEASURED, 1))
    said = belief @ emission
    uncertain = []
    for _ in range(min(length, FAR)):  # the sequences are drawn from the filter's own predictions
        cumulated = said.cumsum(-1)
        x = (random.random((MEASURED, 1)) * cumulated[:, -1:] > cumulated).sum(-1)
        belief = belief * emission[:, x].T
        belief = belief / belief.sum(-1, keepdims=True) @ transition
        said = belief @ emission
        uncertain.append(-np.sum(said * np.log(said)) / MEASURED)
    later = (length - len(uncertain)) * np.mean(uncertain[len(uncertain) // 2 :])
    return float((np.sum(uncertain) + later) / length)

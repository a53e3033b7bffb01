"""Hidden Markov models made from what was seen: by Baum and Welch, by counting; and what is drawn from one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hmm import KINDS, B, S, T, V, model, seen

from seqjax import UserError
from seqjax.models import hmm as room
from seqjax.models.hmm import HMM, Gaussian

pytestmark = pytest.mark.usefixtures("float64")


learned = jax.jit(functools.partial(room.baum_welch, rounds=5))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), lengths=st.lists(st.integers(1, T), min_size=B, max_size=B))
def test_em_never_lowers_the_likelihood(kind, seed, lengths):
    _, scores = learned(model(kind, seed), seen(kind, seed), np.array(lengths))
    scores = np.asarray(scores)
    assert np.isfinite(scores).all() and (np.diff(scores) >= -1e-9 * abs(scores[:-1])).all()


def test_em_finds_the_model_that_made_the_sequences():
    """From a rough guess, the emissions of two well-separated states."""
    truth = HMM(
        np.log([0.5, 0.5]),
        np.log([[0.9, 0.1], [0.2, 0.8]]),
        Gaussian(np.array([[-2.0], [2.0]]), np.array([[0.5], [1.0]])),
    )
    rough = Gaussian(np.array([[-0.5], [0.5]]), np.ones((2, 1)))
    start = HMM(np.full(2, -np.log(2)), np.full((2, 2), -np.log(2)), rough)

    @jax.jit
    def learn(truth, start):
        states, xs = room.sample(truth, jax.random.key(0), 100, 50)
        found, _ = room.baum_welch(start, xs, rounds=30)
        return found, states, room.viterbi(found, xs)[0]

    found, states, path = learn(truth, start)
    np.testing.assert_allclose(np.exp(found.log_transition), np.exp(truth.log_transition), atol=0.03)
    np.testing.assert_allclose(found.emission.mean, truth.emission.mean, atol=0.06)
    np.testing.assert_allclose(found.emission.variance, truth.emission.variance, atol=0.1)
    assert (np.asarray(path) == np.asarray(states)).mean() > 0.97


def test_counts_are_counts():
    """Of states and symbols that are known, smoothed; padding, whatever it holds, is not counted."""
    states = np.array([[0, 1], [1, 9], [1, 9]])
    xs = np.array([[2, 0], [1, 9], [1, 9]])
    counted = jax.jit(functools.partial(room.count, kinds=3, symbols=4))
    found = counted(states, xs, np.array([3, 1]), smoothing=0.5)
    np.testing.assert_allclose(np.exp(found.log_initial), np.array([1.5, 1.5, 0.5]) / 3.5)
    passages = np.array([[0.5, 1.5, 0.5], [0.5, 1.5, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(np.exp(found.log_transition), passages / passages.sum(1, keepdims=True))
    symbols = np.array([[0.5, 0.5, 1.5, 0.5], [1.5, 2.5, 0.5, 0.5], [0.5] * 4])
    np.testing.assert_allclose(np.exp(found.emission.log_probs), symbols / symbols.sum(1, keepdims=True))
    bare = counted(states, xs, np.array([3, 1]), smoothing=0.0)
    np.testing.assert_allclose(np.exp(bare.log_transition), [[0, 1, 0], [0, 1, 0], [1 / 3] * 3])
    of_vectors = jax.jit(functools.partial(room.count, kinds=3))
    vectors = of_vectors(np.array([[0], [0], [1]]), np.array([[[1.0]], [[3.0]], [[5.0]]]))
    np.testing.assert_allclose(vectors.emission.mean, [[2], [5], [0]])
    np.testing.assert_allclose(vectors.emission.variance, [[1], [1e-6], [1]])
    with pytest.raises(UserError, match="states hold 1; expected 0 to 0, as kinds=1"):
        room.count(states, xs, jnp.array([3, 1]), kinds=1, symbols=4)
    with pytest.raises(UserError, match="xs hold 2; expected 0 to 1, as symbols=2"):
        room.count(states, xs, jnp.array([3, 1]), kinds=3, symbols=2)
    with pytest.raises(UserError, match="smoothing=-1"):
        room.count(states, xs, kinds=3, symbols=4, smoothing=-1)


def test_samples_are_of_the_model():
    hmm = model()
    states, xs = jax.device_get(jax.jit(lambda hmm, key: room.sample(hmm, key, 3, 20000))(hmm, jax.random.key(1)))
    first = np.bincount(states[0], minlength=S) / 20000
    np.testing.assert_allclose(first, np.exp(hmm.log_initial), atol=0.02)
    for z in range(S):
        following = np.bincount(states[2][states[1] == z], minlength=S) / (states[1] == z).sum()
        np.testing.assert_allclose(following, np.exp(hmm.log_transition)[z], atol=0.03)
        said = np.bincount(xs[states == z], minlength=V) / (states == z).sum()
        np.testing.assert_allclose(said, np.exp(hmm.emission.log_probs)[z], atol=0.02)


def test_a_random_model_is_one():
    for options, shape in [({"symbols": 7}, (5, 7)), ({"size": 2}, (5, 2))]:
        made = jax.jit(functools.partial(room.random_hmm, kinds=5, **options))(jax.random.key(0))
        np.testing.assert_allclose(np.exp(made.log_initial).sum(), 1)
        np.testing.assert_allclose(np.exp(made.log_transition).sum(1), 1)
        assert made.emission[0].shape == shape
    assert (made.emission.variance == 1).all()


def test_of_a_long_text_the_states_are_found_as_exactly_as_of_a_short_one():
    """In 32 bits: what is said of states, of the next symbol and of passages, and the path, are as in 64."""
    hmm, xs = model(), np.asarray(seen(steps=20_000, batch=1), np.int32)

    @jax.jit
    def inferred(hmm):
        expected = room.expectations(hmm, xs)
        chances = jnp.exp(room.posterior(hmm, xs)), jnp.exp(room.predictive(hmm, xs)), expected.states
        return (*chances, expected.transition / len(xs)), room.viterbi(hmm, xs)

    wanted, (_, best) = jax.device_get(inferred(hmm))
    with jax.enable_x64(False):
        found, (states, score) = jax.device_get(inferred(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), hmm)))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    z, said = states[:, 0], hmm.emission.log_probs  # paths may be as good as each other
    of_path = hmm.log_initial[z[0]] + hmm.log_transition[z[:-1], z[1:]].sum() + said[z, xs[:, 0]].sum()
    assert best[0] - of_path < 1e-3 and float(score[0]) == pytest.approx(float(best[0]), rel=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_numpy_arrays(kind):
    """Such as these are: handed to no compiled function, or closed over by one."""
    hmm, xs = model(kind), seen(kind)
    ours = jax.tree.map(jnp.asarray, hmm)
    close(room.viterbi(hmm, xs), room.viterbi(ours, xs), 1e-12)
    close(jax.jit(lambda xs: room.score(hmm, xs))(xs), room.score(ours, xs), 1e-12)
    states, said = jax.jit(lambda key: room.sample(hmm, key, T, B))(jax.random.key(0))
    assert states.shape == said.shape[:2] == (T, B)

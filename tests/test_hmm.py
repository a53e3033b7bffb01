"""Hidden Markov models against hmmlearn, against sums over all paths, and against themselves in parallel."""

import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close

from seqjax import UserError
from seqjax.models import hmm as room
from seqjax.models.hmm import HMM, Categorical, Gaussian
from seqjax.tasks.hidden_markov import hidden_markov

S, V, D, T, B = 3, 4, 2, 6, 8
LENGTHS = np.array([6, 1, 4, 6, 5, 6, 2, 6])
KINDS = ["categorical", "gaussian"]
pytestmark = pytest.mark.usefixtures("float64")


def model(kind="categorical", seed=0, zeros=False):
    """A model by NumPy, with some chances of zero if asked for."""
    random = np.random.default_rng(seed)
    initial, transition, emission = (random.dirichlet(np.ones(n), S) for n in (S, S, V))
    initial = initial[0]
    if zeros:
        initial[0] = transition[0, 1] = transition[1, 1] = emission[2, 0] = 0
        initial, transition, emission = (rows / rows.sum(-1, keepdims=True) for rows in (initial, transition, emission))
    with np.errstate(divide="ignore"):
        logs = [np.log(rows) for rows in (initial, transition, emission)]
    if kind == "gaussian":
        logs[2] = Gaussian(random.normal(size=(S, D)), random.uniform(0.3, 2, (S, D)))
        return HMM(*logs)
    return HMM(logs[0], logs[1], Categorical(logs[2]))


def seen(kind="categorical", seed=1, steps=T, batch=B):
    random = np.random.default_rng(seed)
    shape = (steps, batch)
    return random.integers(0, V, shape) if kind == "categorical" else random.normal(size=(*shape, D))


def all_paths(hmm, x):
    """log p(path, x) of every path of one sequence, by the definition: {path: log chance}."""
    if isinstance(hmm.emission, Categorical):
        said = hmm.emission.log_probs[:, x].T
    else:
        mean, variance = hmm.emission
        said = -0.5 * ((x[:, None] - mean) ** 2 / variance + np.log(2 * np.pi * variance)).sum(-1)
    first, passage = hmm.log_initial, hmm.log_transition
    return {
        path: first[path[0]]
        + sum(said[t, z] for t, z in enumerate(path))
        + sum(passage[a, b] for a, b in itertools.pairwise(path))
        for path in itertools.product(range(S), repeat=len(x))
    }


@functools.cache
def inferred(kind, parallel, zeros=False):
    """Everything there is to infer, in one compiled program."""
    lengths = jnp.asarray(LENGTHS)

    @jax.jit
    def everything(hmm, xs):
        return {
            "score": room.score(hmm, xs, lengths, parallel=parallel),
            "posterior": room.posterior(hmm, xs, lengths, parallel=parallel),
            "viterbi": room.viterbi(hmm, xs, lengths, parallel=parallel),
            "forward": room.forward(hmm, xs, lengths, parallel=parallel),
            "backward": room.backward(hmm, xs, lengths, parallel=parallel),
            "expectations": room.expectations(hmm, xs, lengths, parallel=parallel),
            "em": room.em_step(hmm, xs, lengths, parallel=parallel),
        }

    return jax.device_get(everything(model(kind, zeros=zeros), seen(kind)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parallel", [False, True], ids=["scan", "parallel"])
def test_it_is_the_sum_over_all_paths(kind, parallel):
    """Score, smoothing, best path, and how often each passage is expected; lengths from 1 to 6."""
    hmm, xs, found = model(kind, zeros=True), seen(kind), inferred(kind, parallel, zeros=True)
    passages = np.zeros((S, S))
    for b, length in enumerate(LENGTHS):
        paths = all_paths(hmm, xs[:length, b])
        chances = {path: np.exp(log) for path, log in paths.items()}
        total = sum(chances.values())
        assert float(found["score"][b]) == pytest.approx(np.log(total), rel=1e-12)
        for t in range(length):
            share = np.array([sum(p for path, p in chances.items() if path[t] == z) for z in range(S)]) / total
            np.testing.assert_allclose(np.exp(found["posterior"][t, b]), share, atol=1e-12)
            np.testing.assert_allclose(found["expectations"].states[t, b], share, atol=1e-12)
        assert not found["expectations"].states[length:, b].any()
        best = max(paths, key=paths.get)
        assert tuple(np.asarray(found["viterbi"][0][:length, b])) == best
        assert (np.asarray(found["viterbi"][0][length:, b]) == -1).all()
        assert float(found["viterbi"][1][b]) == pytest.approx(paths[best], rel=1e-12)
        for path, p in chances.items():
            for a, z in itertools.pairwise(path):
                passages[a, z] += p / total
    np.testing.assert_allclose(found["expectations"].transition, passages, atol=1e-12)


def peer(kind, hmm):
    """The same model in hmmlearn, without priors."""
    learn = pytest.importorskip("hmmlearn.hmm")
    if kind == "categorical":
        other = learn.CategoricalHMM(S, n_features=V, n_iter=1, init_params="", tol=0)
        other.emissionprob_ = np.exp(hmm.emission.log_probs)
    else:
        other = learn.GaussianHMM(S, covariance_type="diag", n_iter=1, init_params="", covars_prior=0, min_covar=0)
        other.means_, other.covars_ = np.asarray(hmm.emission.mean), np.asarray(hmm.emission.variance)
    other.startprob_, other.transmat_ = np.exp(hmm.log_initial), np.exp(hmm.log_transition)
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_hmmlearn_says_the_same(kind):
    """Scores, best paths, smoothing and the model after one round of EM, on sequences of unlike lengths."""
    hmm, xs, found = model(kind), seen(kind), inferred(kind, False)
    other = peer(kind, hmm)
    rows = [xs[:n, b].reshape(n, -1) for b, n in enumerate(LENGTHS)]
    stacked = np.concatenate(rows)
    np.testing.assert_allclose(found["score"], [other.score(row) for row in rows], atol=1e-10)
    for b, (n, row) in enumerate(zip(LENGTHS, rows)):
        log, path = other.decode(row)
        np.testing.assert_array_equal(found["viterbi"][0][:n, b], path)
        assert float(found["viterbi"][1][b]) == pytest.approx(log, abs=1e-10)
        np.testing.assert_allclose(np.exp(found["posterior"][:n, b]), other.predict_proba(row), atol=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that one round has not converged
        other.fit(stacked, LENGTHS)
    after, before = found["em"]
    assert float(before) == pytest.approx(float(found["score"].sum()), rel=1e-12)
    np.testing.assert_allclose(np.exp(after.log_initial), other.startprob_, atol=1e-8)
    np.testing.assert_allclose(np.exp(after.log_transition), other.transmat_, atol=1e-8)
    if kind == "categorical":
        np.testing.assert_allclose(np.exp(after.emission.log_probs), other.emissionprob_, atol=1e-8)
    else:
        np.testing.assert_allclose(after.emission.mean, other.means_, atol=1e-8)
        variances = np.stack([np.diag(covariance) for covariance in other.covars_])
        np.testing.assert_allclose(after.emission.variance, variances, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_in_parallel_it_is_the_same(kind):
    one, other = inferred(kind, False), inferred(kind, True)
    close(one, other, 1e-11)


def test_a_long_text_is_scored_as_exactly_as_a_short_one():
    """In 32 bits, where one growing logarithm would lose its last digits: 1e-7 of 20,000 is .002."""
    hmm, xs = model(), seen(steps=20_000, batch=1)
    wanted = float(jax.jit(room.score)(hmm, xs)[0])
    with jax.enable_x64(False):
        single = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), hmm)
        found = float(jax.jit(room.score)(single, np.asarray(xs, np.int32))[0])
    assert found == pytest.approx(wanted, rel=2e-6)


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_any_length(steps):
    """The score of 1,000 steps, in parallel, is that of a NumPy loop that rescales at each step."""
    hmm, xs = model(), seen(steps=steps, batch=1)
    alpha, total = np.exp(hmm.log_initial), 0.0
    passage, emission = np.exp(hmm.log_transition), np.exp(hmm.emission.log_probs)
    for t in range(steps):
        alpha = (alpha if t == 0 else alpha @ passage) * emission[:, xs[t, 0]]
        total, alpha = total + np.log(alpha.sum()), alpha / alpha.sum()
    both = jax.jit(lambda hmm, xs: [room.score(hmm, xs, parallel=each)[0] for each in (False, True)])
    np.testing.assert_allclose(both(hmm, xs), total, rtol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_takes_part_in_nothing(kind):
    """Whatever it holds: in the values, in the next model, and in the gradient."""
    xs, found = seen(kind), inferred(kind, False)
    past = np.arange(T)[:, None] >= LENGTHS
    xs[past] = -7 if kind == "categorical" else np.nan
    lengths = jnp.asarray(LENGTHS)

    @jax.jit
    def again(hmm, xs):
        gradient = jax.grad(lambda hmm: room.score(hmm, xs, lengths).sum())(hmm)
        return room.posterior(hmm, xs, lengths), room.em_step(hmm, xs, lengths), gradient

    posterior, em, gradient = jax.device_get(again(model(kind), xs))
    close(posterior, found["posterior"], 1e-12)
    close(em, found["em"], 1e-12)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_can_be_differentiated(kind):
    """By every parameter, and by the vectors, against finite differences; a chance of zero gives no NaN."""
    xs, lengths = seen(kind), jnp.asarray(LENGTHS)
    both = jax.jit(jax.value_and_grad(lambda hmm: room.score(hmm, xs, lengths).sum()))
    hmm = model(kind)
    _, gradient = both(hmm)
    leaves, form = jax.tree.flatten(hmm)
    for n, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(gradient))):
        shift = np.zeros(leaf.shape)
        shift.flat[0] = 1e-5
        up, down = (
            both(jax.tree.unflatten(form, [*leaves[:n], leaf + by, *leaves[n + 1 :]]))[0] for by in (shift, -shift)
        )
        assert np.asarray(slope).flat[0] == pytest.approx(float(up - down) / 2e-5, rel=1e-6, abs=1e-9)
    _, zeros = both(model(kind, zeros=True))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(zeros))


def test_what_comes_next_adds_up_to_the_score():
    """-Σ log p(x_{t+1} | x_0 ... x_t) and the first symbol's own chance are the score."""
    hmm, xs = model(), seen()
    ahead, first, whole = jax.jit(
        lambda hmm, xs: (room.predictive(hmm, xs), room.score(hmm, xs[:1]), room.score(hmm, xs))
    )(hmm, xs)
    np.testing.assert_allclose(np.exp(ahead).sum(-1), 1)
    rest = np.take_along_axis(np.asarray(ahead[:-1]), np.asarray(xs)[1:, :, None], -1)[..., 0].sum(0)
    np.testing.assert_allclose(first + rest, whole, rtol=1e-12)


def test_no_predictor_of_the_task_is_better_than_the_filter():
    """Its score is the distance to `predictive` of the same model; its optimum, that model's entropy."""
    with jax.enable_x64(False):
        task = hidden_markov(length=20, states=4, symbols=3, moves=0.1)
        random = np.random.default_rng(0)  # the same draws, in the order stated
        rows = [random.dirichlet(np.full(n, c), 4) + 1e-6 for n, c in ((4, 0.1), (3, 0.1))]
        transition, emission = (each / each.sum(1, keepdims=True) for each in rows)
        stationary = np.linalg.matrix_power(transition, 4096)[0]
        logs = [np.log(each).astype(np.float32) for each in (stationary, transition, emission)]
        hmm = HMM(*logs[:2], Categorical(logs[2]))

        @jax.jit
        def measured(hmm):
            batch = task.sample(jax.random.key(0), 4000)
            ahead = room.predictive(hmm, batch.inputs)
            return task.loss(ahead, batch), task.score(ahead, batch)

        loss, score = measured(hmm)
        assert float(score) == pytest.approx(0, abs=1e-4)
        assert float(loss) == pytest.approx(task.optimum, abs=0.02) and task.optimum < task.baseline - 0.02
        assert task.solved({"score": 0.0}) and not task.solved({"score": task.baseline - task.optimum})
    for arguments, says in [({"states": 1}, "states=1"), ({"moves": 0.0}, "moves=0.0; expected a positive number")]:
        with pytest.raises(UserError, match=says):
            hidden_markov(**arguments)

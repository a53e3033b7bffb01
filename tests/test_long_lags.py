"""Tasks with long lags against their papers' text: temporal order, parity, noise-free lag, two sequences."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawing import NOISY, SIZE, SMALLER, draw

from seqjax import Batch
from seqjax.tasks.parity import parity
from seqjax.tasks.temporal_order import BEGIN, END, X, Y, temporal_order

# Temporal order


@pytest.mark.parametrize(
    "form, length, windows",
    [
        ("temporal_order", 100, [(10, 20), (50, 60)]),
        ("temporal_order(relevant=3)", 100, [(10, 20), (33, 43), (66, 76)]),
        ("temporal_order(length=20, relevant=3)", 20, [(2, 4), (7, 9), (13, 15)]),
    ],
)
def test_temporal_order_as_in_the_1997_paper(form, length, windows):
    task, batch = draw(form)
    relevant = len(windows)
    assert batch.inputs.shape[0] == length + length // 10
    assert set(batch.lengths) == set(range(length, length + length // 10 + 1))
    steps = np.arange(batch.inputs.shape[0])[:, None]
    at = (batch.inputs == X) | (batch.inputs == Y)
    for first, last in windows:  # one in each window, at every place of it, ends included
        inside = at[first : last + 1]
        assert (inside.sum(0) == 1).all() and inside.any(1).all()
    assert (at.sum(0) == relevant).all()
    assert (batch.inputs[0] == BEGIN).all() and (batch.inputs[batch.lengths - 1, np.arange(SIZE)] == END).all()
    noise = batch.inputs[~at & (steps > 0) & (steps < batch.lengths - 1)]
    assert set(np.unique(noise)) == {0, 1, 2, 3}
    order = batch.inputs.T[at.T].reshape(SIZE, relevant) - X  # 0 for X, 1 for Y, in order of time
    classes = {symbols: n for n, symbols in enumerate(itertools.product((0, 1), repeat=relevant))}  # XX XY YX YY
    np.testing.assert_array_equal(batch.targets, [classes[tuple(row)] for row in order.tolist()])
    assert task.output_size == 2**relevant and task.baseline == pytest.approx(relevant * math.log(2))


@pytest.mark.parametrize("form, classes", [("temporal_order", 4), ("temporal_order(relevant=3)", 8), ("parity", 2)])
def test_every_class_is_as_frequent(form, classes):
    _, batch = draw(form)
    share = np.bincount(batch.targets, minlength=classes) / SIZE
    assert (abs(share - 1 / classes) < 5 * (1 / classes * (1 - 1 / classes) / SIZE) ** 0.5).all()


def test_temporal_order_of_sigmoids_is_right_within_the_papers_error():
    """Every output within .3; of a softmax the most active one, which the same numbers say."""
    sigmoid, softmax = (temporal_order(outputs=outputs) for outputs in ("sigmoid", "softmax"))
    batch = Batch(jnp.zeros((1, 4)), jnp.array([0, 0, 1, 1]), jnp.ones(4))
    active = jnp.array([[0.71, 0.29, 0, 0], [0.71, 0.31, 0, 0], [0.1, 0.69, 0, 0], [0.2, 0.9, 0.2, jnp.nan]])
    outputs = jnp.log(active) - jnp.log1p(-active)
    assert sigmoid.score(outputs, batch) == 0.25
    three = jax.tree.map(lambda leaf: leaf[:3], (outputs, batch._replace(inputs=batch.targets)))
    assert softmax.score(*three) == 1
    assert "every output's error below .3" in sigmoid.criterion and "classified right" in softmax.criterion


def test_temporal_order_is_solved_at_its_threshold():
    solved = temporal_order(100).solved
    assert solved({"score": 0.999, "loss": 9.0}) and not solved({"score": 0.998, "loss": 0.0})


# Parity


def test_parity():
    task, batch = draw("parity")
    assert set(np.unique(batch.inputs)) == {0, 1} and batch.lengths is None
    np.testing.assert_array_equal(batch.targets, batch.inputs.sum(0) % 2)
    assert abs(batch.inputs.mean() - 0.5) < 5 * 0.5 / batch.inputs.size**0.5
    assert task.solved({"score": 0.999, "loss": 9.0}) and not task.solved({"score": 0.998, "loss": 0.0})


def test_parity_of_many_lengths():
    _, batch = draw("parity(length=9, min_length=3)")
    share = np.bincount(batch.lengths, minlength=10)[3:] / SIZE
    assert share.size == 7 and (abs(share - 1 / 7) < 5 * (6 / 49 / SIZE) ** 0.5).all()
    valid = np.arange(9)[:, None] < batch.lengths
    assert not batch.inputs[~valid].any()
    np.testing.assert_array_equal(batch.targets, (batch.inputs * valid).sum(0) % 2)
    assert jax.eval_shape(lambda: parity(5, 5).sample(jax.random.key(0), 2)).lengths is None


# Noise-free lag


@pytest.mark.parametrize("variant", ["2a", "2b"])
def test_noise_free_lag_as_in_the_1997_paper(variant):
    """The symbols a1 ... a5 are 0 ... 4, x is 5, y is 6."""
    form = f"noise_free_lag(length=6, variant={variant!r})" if variant == "2b" else SMALLER["noise_free_lag"]
    task, batch = draw(form)
    np.testing.assert_array_equal(batch.inputs[1:], batch.targets[:-1])
    assert set(batch.inputs[0]) == {5, 6}
    np.testing.assert_array_equal(batch.targets[-1], batch.inputs[0])
    if variant == "2a":
        assert (batch.inputs[1:] == np.arange(5)[:, None]).all()
    else:
        counts = np.bincount(batch.inputs[1:].ravel(), minlength=7)
        assert (abs(counts[:5] - SIZE) < 5 * (SIZE * 0.8) ** 0.5).all() and not counts[5:].any()
    assert batch.inputs.shape[0] == 6 and task.input_size == task.output_size == 7


@pytest.mark.parametrize("variant", ["2a", "2b"])
def test_the_last_symbol_alone_may_be_asked_for(variant):
    """The sequences are the same; the loss is that of the last step."""
    (task, batch), (_, whole) = (
        draw(f"noise_free_lag(length=6, variant={variant!r}, outputs='sigmoid'{asked})")
        for asked in (", asked='last'", "")
    )
    np.testing.assert_array_equal(batch.inputs, whole.inputs)
    outputs = np.random.default_rng(0).normal(size=(*batch.targets.shape, 7)).astype(np.float32)
    wanted = ((1 / (1 + np.exp(-outputs[-1])) - np.eye(7)[batch.targets[-1]]) ** 2).sum(-1).mean()
    assert float(task.loss(outputs, batch)) == pytest.approx(wanted, rel=1e-5) and task.baseline == 0.5


def test_noise_free_lag_2c():
    """b, x or y, T and more distractors, e; each further symbol is e with chance 1/10."""
    task, batch = draw("noise_free_lag(length=5, variant='2c', distractors=3)")
    more = batch.lengths - 5 - 3
    for b, n in enumerate(batch.lengths.tolist()):
        inputs = batch.inputs[:, b]
        assert inputs[0] == 4 and inputs[1] == 5 + batch.targets[b] and inputs[n - 1] == 3
        assert set(inputs[2 : n - 1]) <= {0, 1, 2} and (inputs[n:] == 3).all()
    assert more.min() == 0 and abs(more.mean() - 9) < 5 * (90 / SIZE) ** 0.5  # geometric: mean 9, variance 90
    assert abs((more == 0).mean() - 0.1) < 5 * (0.09 / SIZE) ** 0.5
    assert task.output_size == 2 and abs(batch.targets.mean() - 0.5) < 5 * 0.5 / SIZE**0.5


@pytest.mark.parametrize(
    ("form", "margin", "where"),
    [
        (SMALLER["noise_free_lag"], 0.25, "all"),
        ("noise_free_lag(length=6, variant='2b')", 0.25, "last"),
        ("noise_free_lag(length=6, variant='2b', asked='last')", 0.25, "last"),
        ("noise_free_lag(length=5, variant='2c', distractors=3)", 0.2, "end"),
    ],
)
def test_noise_free_lags_score_is_the_papers_criterion(form, margin, where):
    """A wrong answer gets the chance margin ± .01, at one step of a quarter of the sequences."""
    task, batch = draw(form)
    for wrong, right in ((margin - 0.01, 1.0), (margin + 0.01, 0.75)):
        for step in (0, -1):
            chances = np.eye(task.output_size)[batch.targets] + 1e-12
            at = (step, slice(0, SIZE // 4)) if task.readout == "every" else (slice(0, SIZE // 4),)
            other = np.eye(task.output_size)[(batch.targets[at] + 1) % task.output_size]
            chances[at] = (1 - wrong) * chances[at] + wrong * other
            counts = where == "all" or where == "end" or step == -1
            score = float(task.score(np.log(chances).astype(np.float32), batch))
            assert score == pytest.approx(right if counts else 1.0)
    assert task.solved({"score": 1.0}) and not task.solved({"score": 0.999})


# Two sequences


@pytest.mark.parametrize(
    "form", [SMALLER["two_sequence"], "two_sequence(length=20, variant='3b', informative=1)", NOISY]
)
def test_two_sequence_as_in_the_1997_paper(form):
    task, batch = draw(form)
    told, variant = (1 if "3b" in form else 3), (form + "3a").split("variant='")[-1][:2] if "'" in form else "3a"
    x, steps = batch.inputs[..., 0], np.arange(22)[:, None]
    assert set(batch.lengths) == {20, 21, 22} and not x[steps >= batch.lengths].any()
    noise = x[told:20]
    assert abs(noise.mean()) < 5 * (0.2 / noise.size) ** 0.5 and noise.var() == pytest.approx(0.2, rel=0.05)
    if variant == "3b":  # the class is in the target: 1 for class 1
        first = batch.targets[:, 0] == 1
        assert x[0, first].mean() == pytest.approx(1, abs=0.1) and x[0, ~first].mean() == pytest.approx(-1, abs=0.1)
        assert x[0, first].var() == pytest.approx(0.2, rel=0.2)
    else:
        assert (abs(x[:told]) == 1).all() and (x[:told] == x[0]).all()
        first = x[0] == 1
    means = {"3a": (1, 0), "3b": (1, 0), "3c": (0.2, 0.8)}[variant]
    clean = np.where(first, *means)[:, None]
    if variant == "3c":
        rest = batch.targets - clean
        assert abs(rest.mean()) < 5 * (0.1 / SIZE) ** 0.5 and rest.var() == pytest.approx(0.1, rel=0.2)
        assert float(task.loss(clean, batch)) == pytest.approx(0.1, rel=0.2)
    else:
        np.testing.assert_array_equal(batch.targets, clean)
    margin = 0.1 if variant == "3c" else 0.2
    off = np.tile([0.9, -0.9, 1.1, -1.1], SIZE // 4)[:, None] * margin
    assert task.score((clean + off).astype(np.float32), batch) == 0.5
    assert abs(first.mean() - 0.5) < 5 * 0.5 / SIZE**0.5
    enough = 1 - 5 / 256 if variant == "3b" else 1.0
    assert task.solved({"score": enough}) and not task.solved({"score": enough - 1 / 256})
    mean = {"3a": 0.01, "3b": 0.04, "3c": 0.015}[variant]  # ST2, off by one time this and three times that
    strict, _ = draw(form[:-1] + ", criterion='ST2')")
    for bound, score in ((mean * 0.99 / 2, 1.0), (mean * 1.01 / 2, 0.0)):
        off = np.tile([1.0, -1.0, 3.0, -3.0], SIZE // 4)[:, None] * bound
        assert strict.score((clean + off).astype(np.float32), batch) == score
    assert strict.criterion == f"{task.criterion}, mean error below {mean:g}"


def test_two_sequence_says_what_the_papers_output_unit_says():
    """With sigmoid outputs loss and score are those of σ of what is read."""
    linear, batch = draw(SMALLER["two_sequence"])
    sigmoid, _ = draw(SMALLER["two_sequence"][:-1] + ", outputs='sigmoid')")
    read = np.linspace(-4, 4, SIZE, dtype=np.float32)[:, None]
    said = 1 / (1 + np.exp(-read))
    assert float(sigmoid.loss(read, batch)) == pytest.approx(float(linear.loss(said, batch)), rel=1e-6)
    assert sigmoid.score(read, batch) == linear.score(said, batch) > 0

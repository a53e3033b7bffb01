"""Adding and multiplication against their papers' text."""

import itertools

import numpy as np
import pytest
from drawing import SIZE, SMALLER, draw

from seqjax.tasks.adding import adding
from seqjax.tasks.marking import first_step_chance
from seqjax.tasks.multiplication import multiplication

# Adding


@pytest.mark.parametrize("form, length", [("adding(length=2)", 2), ("adding(length=7)", 7), ("adding", 100)])
def test_adding_as_in_the_urnn_paper(form, length):
    """One mark in each half, numbers in [0, 1], the target their sum."""
    task, batch = draw(form)
    numbers, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    assert numbers.shape[0] == length and batch.lengths is None
    assert numbers.min() >= 0 and numbers.max() <= 1 and set(np.unique(marks)) <= {0, 1}
    half = length // 2
    assert (marks[:half].sum(0) == 1).all() and (marks[half:].sum(0) == 1).all()
    assert marks.any(1).all()  # every place is marked at times
    np.testing.assert_allclose(batch.targets[:, 0], (numbers * marks).sum(0), rtol=1e-6)
    assert task.baseline == pytest.approx(1 / 6) and task.readout == "last"


def test_adding_as_in_the_tcn_paper():
    """Two marks anywhere, each pair of places as often as any other."""
    _, batch = draw("adding(length=4, variant='tcn')")
    marks = batch.inputs[..., 1]
    assert (marks.sum(0) == 2).all()
    pairs = np.array([(marks[a] * marks[b]).sum() for a, b in itertools.combinations(range(4), 2)])
    assert (abs(pairs - SIZE / 6) < 5 * (SIZE * 5 / 36) ** 0.5).all()
    np.testing.assert_allclose(batch.targets[:, 0], (batch.inputs[..., 0] * marks).sum(0), rtol=1e-6)


@pytest.mark.parametrize("length", [22, 50])
def test_adding_as_in_the_1997_paper(length):
    _, batch = draw(f"adding(length={length}, variant='hs97')")
    longest = length + length // 10
    assert batch.inputs.shape[0] == longest and set(batch.lengths) == set(range(length, longest + 1))
    firsts = []
    for b, n in enumerate(batch.lengths.tolist()):
        numbers, marks = batch.inputs[:, b].T
        assert not numbers[n:].any() and not marks[n:].any()
        places = np.flatnonzero(marks == 1)
        assert places.size == 2 and (places < 10).any() and (places <= length // 2 - 1).all()
        assert marks[0] == (1 if 0 in places else -1) and marks[n - 1] == -1  # a mark takes the place of the -1
        assert not marks[np.setdiff1d(np.arange(1, n - 1), places)].any()
        assert (numbers[0] == 0) == (0 in places)  # what stands there must be seen to count for nothing
        assert batch.targets[b, 0] == pytest.approx(0.5 + sum(numbers[places]) / 4, abs=1e-6)
        firsts.append(0 in places)
    assert -1 <= batch.inputs[..., 0].min() < -0.99 and 0.99 < batch.inputs[..., 0].max() <= 1
    chance = 1 / 10 + 9 / 10 / (length // 2 - 1)
    assert abs(np.mean(firsts) - chance) < 5 * (chance / SIZE) ** 0.5


def test_adding_is_solved_at_its_threshold():
    for variant in ("urnn", "tcn"):
        solved = adding(50, variant).solved
        assert solved({"loss": 0.0099, "score": 0.0}) and not solved({"loss": 0.01, "score": 1.0})
    solved = adding(50, "hs97").solved
    assert solved({"loss": 0.0099, "score": 0.999}) and not solved({"loss": 0.0099, "score": 0.9985})
    assert not solved({"loss": 0.01, "score": 1.0})


@pytest.mark.parametrize("form, margin", [("adding", 0.08), ("adding(length=22, variant='hs97')", 0.04)])
def test_addings_score_is_the_share_within_the_margin(form, margin):
    task, batch = draw(form)
    off = np.tile([0.9, -0.9, 1.1, -1.1], SIZE // 4)[:, None] * margin
    assert task.score(batch.targets + off, batch) == 0.5


# Multiplication


def test_multiplication_as_in_the_1997_paper():
    task, batch = draw(SMALLER["multiplication"])
    assert batch.inputs.shape[0] == 24 and set(batch.lengths) == {22, 23, 24}
    for b, n in enumerate(batch.lengths.tolist()):
        numbers, marks = batch.inputs[:, b].T
        places = np.flatnonzero(marks == 1)
        assert places.size == 2 and places.max() <= 10 and marks[n - 1] == -1 and not batch.inputs[n:, b].any()
        assert (numbers[0] == 1) == (0 in places)
        assert batch.targets[b, 0] == pytest.approx(np.prod(numbers[places]), abs=1e-6)
    assert batch.inputs[..., 0].min() >= 0 and 0.99 < batch.inputs[..., 0].max() <= 1
    off = np.tile([0.039, -0.039, 0.041, -0.041], SIZE // 4)[:, None]
    assert task.score(batch.targets + off, batch) == 0.5
    fewer, as_many = ({"score": 1 - wrong / 2000, "loss": 9.0} for wrong in (12, 13))  # "less than 13 of 2,000"
    assert task.solved(fewer) and not task.solved(as_many)


def test_multiplications_baseline_by_integration():
    """E(x1 x2)² - (E x1 x2)², with x1 = 1 in a share q, on a grid."""
    q, x = first_step_chance(100), (np.arange(10_000) + 0.5) / 10_000
    product, single = x[:, None] * x[::10], x
    mean = (1 - q) * product.mean() + q * single.mean()
    square = (1 - q) * (product**2).mean() + q * (single**2).mean()
    assert multiplication(100).baseline == pytest.approx(square - mean**2, rel=1e-3)

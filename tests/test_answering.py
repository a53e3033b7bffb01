"""Softmax and sigmoid answers: their losses against NumPy, and what the best guess costs."""

import math

import jax
import numpy as np
import pytest

from seqjax import UserError, spec, tasks
from seqjax.tasks.answering import ANSWERS, sigmoid_squared_error
from seqjax.types import Batch, Task

RANDOM = np.random.default_rng(0)


def test_sigmoid_squared_error_by_hand():
    outputs, targets = RANDOM.normal(size=(3, 2, 4)), RANDOM.integers(4, size=(3, 2))
    mask = np.array([[1, 1], [1, 0], [0, 1]])
    by_hand = [
        sum((1 / (1 + math.exp(-outputs[t, b, o])) - (o == targets[t, b])) ** 2 for o in range(4))
        for t in range(3)
        for b in range(2)
        if mask[t, b]
    ]
    found = sigmoid_squared_error(outputs, Batch(None, targets, mask))
    assert float(found) == pytest.approx(np.mean(by_hand), rel=1e-5)


@pytest.mark.parametrize("outputs", ANSWERS)
def test_doubt_is_the_expected_loss_of_the_best_answer(outputs, float64):
    """Equal to the loss where the answer is the chances, less than that of every other answer."""
    how, chances = ANSWERS[outputs], RANDOM.dirichlet(np.ones(3))

    def expected(guess):
        each = [how.loss(guess[None], Batch(None, np.array([o]), np.ones(1))) for o in range(3)]
        return float(chances @ np.array(each))

    best = np.log(chances) if outputs == "softmax" else np.log(chances / (1 - chances))
    np.testing.assert_allclose(how.activity(best), chances, rtol=1e-12)
    assert expected(best) == pytest.approx(float(how.doubt(chances)), rel=1e-12)
    assert all(expected(best + other) > expected(best) for other in RANDOM.normal(size=(5, 3)))
    assert float(how.doubt(np.array([1.0, 0.0]))) == 0


def test_sigmoids_are_right_where_each_is_near_its_target():
    """The 1997 paper's criterion: no output unit's error may reach .25, also where another symbol leads."""
    task = spec.build("noise_free_lag(length=4, outputs='sigmoid')", [tasks], Task)
    batch = task.sample(jax.random.key(0), 3)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    wanted = np.eye(task.output_size)[batch.targets]
    for off, score in ((0.24, 1.0), (0.26, 0.0)):
        assert float(task.score(logit(np.where(wanted == 1, 1 - off, off)), batch)) == score


def test_unknown_outputs():
    with pytest.raises(UserError, match="outputs='sigmod'; expected 'softmax' or 'sigmoid'"):
        spec.build("embedded_reber(outputs='sigmod')", [tasks], Task)

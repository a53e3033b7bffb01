"""Tasks that ask for what was heard, against their papers' text: copy memory, warp, picking out, recall."""

import itertools
import math

import jax
import numpy as np
import pytest
from drawing import PADDED, SIZE, SMALLER, UNIFORM, VARIABLE, draw, perfect

from seqjax.tasks.associative_recall import associative_recall
from seqjax.tasks.warp import warp

# Copy memory


@pytest.mark.parametrize(
    "form, length, symbols, tokens",
    [
        ("copy_memory", 100, 8, 10),
        ("copy_memory(length=20)", 20, 8, 10),
        ("copy_memory(length=1, symbols=2, tokens=1)", 1, 2, 1),
    ],
)
def test_copy_memory_as_in_the_urnn_paper(form, length, symbols, tokens):
    """K symbols, T - 1 blanks, the marker, K blanks; the answer is blank and then the symbols."""
    task, batch = draw(form)
    said = batch.inputs[:tokens]
    assert set(np.unique(said)) == set(range(1, symbols + 1))
    assert batch.inputs.shape[0] == length + 2 * tokens
    assert not batch.inputs[tokens : tokens + length - 1].any()
    assert (batch.inputs[tokens + length - 1] == symbols + 1).all()
    assert not batch.inputs[tokens + length :].any()
    assert not batch.targets[: length + tokens].any()
    np.testing.assert_array_equal(batch.targets[length + tokens :], said)
    assert batch.mask.all() and batch.lengths is None
    assert (task.input_size, task.output_size, task.readout, task.tokens) == (symbols + 2, symbols + 1, "every", True)


def test_copy_memorys_baseline_is_the_loss_of_the_guess_it_describes():
    """Blank for T + K steps, then each symbol with chance 1/S."""
    task, batch = draw("copy_memory(length=20)")
    guess = np.full((40, SIZE, 9), -1e9, np.float32)
    guess[:30, :, 0] = 0
    guess[30:, :, 1:] = 0
    assert float(task.loss(guess, batch)) == pytest.approx(task.baseline, rel=1e-5)
    assert task.baseline == pytest.approx(10 * math.log(8) / 40)


def test_copy_memory_counts_whole_sequences():
    task, batch = draw("copy_memory(length=20)")
    outputs = perfect(task, batch)
    assert task.score(outputs, batch) == 1
    outputs[-1, : SIZE // 4, 0] = 99.0  # a blank in the place of the last symbol
    assert task.score(outputs, batch) == pytest.approx(0.75)
    assert task.solved({"score": 0.99, "loss": 9.0}) and not task.solved({"score": 0.989, "loss": 0.0})


def test_variable_copy_waits_for_as_long_as_it_likes():
    """K symbols, 1 to T blanks, the marker, K blanks; the answer comes right after the marker."""
    _, batch = draw(VARIABLE)
    assert batch.inputs.shape[0] == 6 + 1 + 2 * 2
    waits = []
    for b, n in enumerate(batch.lengths.tolist()):
        inputs, targets = batch.inputs[:, b], batch.targets[:, b]
        (marker,) = np.flatnonzero(inputs == 4)
        assert set(inputs[:2]) <= {1, 2, 3} and not inputs[2:marker].any() and not inputs[marker + 1 :].any()
        assert n == marker + 3 and not targets[: marker + 1].any() and not targets[n:].any()
        np.testing.assert_array_equal(targets[marker + 1 : n], inputs[:2])
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(11) < n)
        waits.append(marker - 2)
    share = np.bincount(waits, minlength=7)[1:] / SIZE
    assert share.size == 6 and (abs(share - 1 / 6) < 5 * (5 / 36 / SIZE) ** 0.5).all()


def test_variable_copys_baseline_is_the_loss_of_the_guess_it_describes():
    """Blank up to the marker, then each symbol with chance 1/S; the mean length is that of many batches."""
    losses = []
    for seed in range(10):
        task, batch = draw(VARIABLE, seed)
        after = np.arange(11)[:, None] > (batch.inputs == 4).argmax(0)
        guess = np.where(after[..., None], [-1e9, 0, 0, 0], [0, -1e9, -1e9, -1e9]).astype(np.float32)
        losses.append(float(task.loss(guess, batch)))
    assert abs(np.mean(losses) - task.baseline) < 5 * np.std(losses, ddof=1) / 10**0.5
    assert task.baseline == pytest.approx(2 * math.log(3) / 8.5)


# Warp


@pytest.mark.parametrize("form", [SMALLER["warp"], UNIFORM, PADDED])
def test_warp_as_in_the_chrono_paper(form):
    """Runs of at most the warping; the answer is what was said before the run; neighbours differ."""
    _, batch = draw(form)
    runs = []
    for b in range(300):
        inputs, targets = batch.inputs[:, b].tolist(), batch.targets[:, b].tolist()
        if form == PADDED:
            said = [n for n, token in enumerate(inputs) if token]
            ends = [*said[1:], 12]
            assert said[0] == 0 and not any(targets[n] for n in range(12) if n not in said)
            spoken = [(inputs[n], targets[n], end - n) for n, end in zip(said, ends)]
        else:
            groups = [list(group) for _, group in itertools.groupby(zip(inputs, targets))]
            assert all(len(set(group)) == 1 for group in groups)
            spoken = [(*group[0], len(group)) for group in groups]
        before = 0
        for token, asked, _ in spoken:
            assert asked == before and token != before and 1 <= token <= 9
            before = token
        runs += [n for *_, n in spoken[:-1]]
        assert 1 <= spoken[-1][2] <= 3
    if form == UNIFORM:
        assert set(runs) == {3}
    else:  # those that the end does not cut; short ones fit in more often
        assert set(runs) == {1, 2, 3}


def test_warps_first_run_is_as_long_as_any():
    _, batch = draw(SMALLER["warp"])
    first = np.bincount((batch.targets != 0).argmax(0), minlength=4)[1:] / SIZE
    assert (abs(first - 1 / 3) < 5 * (2 / 9 / SIZE) ** 0.5).all()


# Selective copying, denoising, associative recall


@pytest.mark.parametrize("name", ["selective_copy", "denoising"])
def test_symbols_are_picked_out_and_repeated(name):
    """9 steps with 4 of 3 symbols among them; the answers count alone."""
    task, batch = draw(SMALLER[name])
    heard, rest = batch.inputs[:9], batch.inputs[9:]
    markers = [4, 4, 4, 4] if name == "selective_copy" else [4, 0, 0, 0, 0]
    assert (rest == np.array(markers)[:, None]).all() and ((heard > 0).sum(0) == 4).all() and heard.max() == 3
    said = heard.T[heard.T > 0].reshape(SIZE, 4)
    np.testing.assert_array_equal(batch.targets[-4:].T, said - 1)
    assert not batch.mask[:-4].any() and batch.mask[-4:].all() and task.output_size == 3
    assert abs((heard > 0).mean(1) - 4 / 9).max() < 5 * (20 / 81 / SIZE) ** 0.5  # every place as often
    outputs = perfect(task, batch)
    outputs[-1, : SIZE // 4] = -outputs[-1, : SIZE // 4]
    assert float(task.score(outputs, batch)) == pytest.approx(1 - 1 / 16 if name == "selective_copy" else 0.75)
    assert task.solved({"score": 0.99}) and not task.solved({"score": 0.98})


def test_associative_recall_asks_for_a_key_that_was_read():
    _, batch = draw(SMALLER["associative_recall"])
    keys, values = batch.inputs[0:6:2], batch.inputs[1:6:2] - 4
    assert (batch.inputs[6:8] == 7).all() and batch.inputs.shape[0] == 9
    assert (
        (np.sort(keys, 0)[1:] > np.sort(keys, 0)[:-1]).all() and keys.max() == 3 and set(np.unique(values)) == {0, 1, 2}
    )
    places = keys == batch.inputs[8]
    assert (places.sum(0) == 1).all()
    np.testing.assert_array_equal(batch.targets, (values * places).sum(0))
    assert (abs(places.mean(1) - 1 / 3) < 5 * (2 / 9 / SIZE) ** 0.5).all()
    assert (abs(np.bincount(keys.ravel()) / SIZE - 3 / 4) < 5 * (3 / 16 / SIZE) ** 0.5).all()
    assert associative_recall().input_size == 37


def test_a_warp_whose_steps_are_more_than_an_integer_holds_begins_with_its_first_character():
    """Times are summed up to the length alone: Σ n is beyond 2³¹ here."""
    task = warp(length=70_000, warping=69_999)
    batch = task.sample(jax.random.key(0), 2)
    assert not np.asarray(batch.targets[0]).any() and 0.1 < np.mean(np.asarray(batch.targets) == 0) < 0.9

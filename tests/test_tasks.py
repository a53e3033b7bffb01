"""Every synthetic task found in `seqjax/tasks` against the tasks' contract, and each against its paper's text."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest
from contract import equal

from seqjax import Task, UserError, spec, tasks
from seqjax.tasks.adding import adding
from seqjax.tasks.copy_memory import copy_memory
from seqjax.tasks.parity import parity
from seqjax.tasks.scoring import accuracy, cross_entropy, sequence_accuracy, squared_error
from seqjax.tasks.temporal_order import BEGIN, END, X, Y, temporal_order
from seqjax.types import Batch

FOUND = spec.names([tasks])
SIZE = 2000
FORMS = [
    *FOUND,
    *["adding(length=2)", "adding(length=4, variant='tcn')", "adding(length=22, variant='hs97')"],
    *["adding(length=50, variant='hs97')", "copy_memory(length=1, symbols=2, tokens=1)", "copy_memory(length=20)"],
    *["temporal_order(relevant=3)", "temporal_order(length=20, relevant=3)"],
    *["parity(length=1)", "parity(length=9, min_length=3)"],
]


@functools.cache
def built(form):
    """A task whose functions are compiled, once for all tests."""
    task = spec.build(form, [tasks], Task)
    sample = jax.jit(task.sample, static_argnums=1)
    return task._replace(sample=sample, loss=jax.jit(task.loss), score=jax.jit(task.score))


def draw(form, seed=0):
    """A task and a batch of it, as NumPy arrays."""
    task = built(form)
    return task, jax.tree.map(np.asarray, task.sample(jax.random.key(seed), SIZE))


def perfect(task, batch):
    """What a network says that knows the answers."""
    if np.issubdtype(batch.targets.dtype, np.integer):
        return 50 * np.eye(task.output_size, dtype=np.float32)[batch.targets]
    return batch.targets


def test_every_task_of_the_plan_is_found():
    assert {"adding", "copy_memory", "temporal_order", "parity"} <= set(FOUND)


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_is_what_a_batch_says(form):
    task, batch = draw(form)
    steps, size = batch.inputs.shape[:2]
    assert size == SIZE
    if task.tokens:
        assert batch.inputs.shape == (steps, size) and np.issubdtype(batch.inputs.dtype, np.integer)
        assert batch.inputs.min() >= 0 and batch.inputs.max() < task.input_size
    else:
        assert batch.inputs.shape == (steps, size, task.input_size) and batch.inputs.dtype == np.float32
        assert np.isfinite(batch.inputs).all()
    places = {"every": (steps, size), "last": (size,)}[task.readout]
    assert batch.mask.shape == places and batch.mask.dtype == np.float32
    assert set(np.unique(batch.mask)) <= {0.0, 1.0} and batch.mask.sum() > 0
    if np.issubdtype(batch.targets.dtype, np.integer):
        assert batch.targets.shape == places
        assert batch.targets.min() >= 0 and batch.targets.max() < task.output_size
    else:
        assert batch.targets.shape == (*places, task.output_size)
    if batch.lengths is not None:
        assert batch.lengths.shape == (size,) and np.issubdtype(batch.lengths.dtype, np.integer)
        assert batch.lengths.min() >= 1 and batch.lengths.max() <= steps
    assert task.examples is None and task.criterion
    assert math.isfinite(task.baseline) and task.baseline > 0


@pytest.mark.parametrize("form", [*FOUND, "adding(length=22, variant='hs97')", "parity(length=9, min_length=3)"])
def test_a_sample_is_of_its_key_alone(form):
    task = spec.build(form, [tasks], Task)
    plain, (_, compiled) = task.sample(jax.random.key(0), SIZE), draw(form)
    equal(compiled, plain)
    assert [leaf.dtype for leaf in jax.tree.leaves(plain)] == [leaf.dtype for leaf in jax.tree.leaves(compiled)]
    _, other = draw(form, seed=1)
    assert (other.inputs != compiled.inputs).any() and (other.targets != compiled.targets).any()


@pytest.mark.parametrize("form", FORMS)
def test_knowing_the_answers_solves_it_and_knowing_nothing_does_not(form):
    task, batch = draw(form)
    for outputs, solves in [(perfect(task, batch), True), (0 * perfect(task, batch), False)]:
        metrics = {"loss": task.loss(outputs, batch), "score": task.score(outputs, batch)}
        assert metrics["loss"].shape == metrics["score"].shape == ()
        assert bool(task.solved(metrics)) is solves
        assert metrics["loss"] < task.baseline / 100 if solves else metrics["loss"] > task.baseline / 2


@pytest.mark.parametrize("form", FORMS)
def test_what_the_mask_hides_counts_for_nothing(form):
    task, batch = draw(form)
    mask = batch.mask.copy()
    mask[0] = 0  # the first step, or the first sequence
    hidden, outputs = batch._replace(mask=mask), perfect(task, batch)
    garbage = outputs.copy()
    garbage[0] = 1e3 + 1e3 * np.roll(outputs[0], 1, -1)
    assert task.loss(garbage, hidden) == task.loss(outputs, hidden)
    assert task.score(garbage, hidden) == task.score(outputs, hidden)
    if batch.mask[0].any():
        assert task.loss(garbage, batch) > task.loss(outputs, batch)


@pytest.mark.parametrize("form", FORMS)
def test_the_baseline_is_the_best_guess_without_memory(form):
    """Monte Carlo: who knows the time step and how often each answer is right there, and nothing else.

    Learned on ten batches, tried on ten others. Learning K frequencies from N sequences costs about
    K/2N; the rest of the difference may be five standard errors.
    """
    task = built(form)
    learned, tried = ([draw(form, seed)[1] for seed in seeds] for seeds in (range(10), range(10, 20)))
    axis = learned[0].mask.ndim - 1
    targets = np.concatenate([batch.targets for batch in learned], axis)
    if np.issubdtype(targets.dtype, np.integer):
        kinds = np.arange(task.output_size)
        guess = np.log(np.stack([(targets == kind).mean(axis, keepdims=True) for kind in kinds], -1) + 1e-9)
    else:
        guess = targets.mean(axis, keepdims=True)
    shape = (*learned[0].mask.shape, task.output_size)
    losses = np.array([task.loss(np.broadcast_to(guess, shape).astype(np.float32), batch) for batch in tried])
    error = losses.std(ddof=1) / 10**0.5
    assert abs(losses.mean() - task.baseline) < 5 * error + task.output_size / (10 * SIZE)


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
        counted = [numbers[place] if place else 0.0 for place in places]
        assert batch.targets[b, 0] == pytest.approx(0.5 + sum(counted) / 4, abs=1e-6)
        firsts.append(0 in places)
    assert -1 <= batch.inputs[..., 0].min() < -0.99 and 0.99 < batch.inputs[..., 0].max() <= 1
    chance = 1 / 10 + 9 / 10 / (length // 2 - 1)
    assert abs(np.mean(firsts) - chance) < 5 * (chance / SIZE) ** 0.5


def test_adding_is_solved_at_its_threshold():
    for variant in ("urnn", "tcn"):
        solved = adding(50, variant).solved
        assert solved({"loss": 0.0099, "score": 0.0}) and not solved({"loss": 0.01, "score": 1.0})
    solved = adding(50, "hs97").solved
    assert solved({"loss": 0.0099, "score": 0.995}) and not solved({"loss": 0.0099, "score": 0.994})
    assert not solved({"loss": 0.01, "score": 1.0})


@pytest.mark.parametrize("form, margin", [("adding", 0.08), ("adding(length=22, variant='hs97')", 0.04)])
def test_addings_score_is_the_share_within_the_margin(form, margin):
    task, batch = draw(form)
    off = np.tile([0.9, -0.9, 1.1, -1.1], SIZE // 4)[:, None] * margin
    assert task.score(batch.targets + off, batch) == 0.5


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
    assert parity(5, 5).sample(jax.random.key(0), 2).lengths is None


# Losses and scores


def test_losses_are_means_over_the_mask():
    draws = np.random.default_rng(0)
    logits, targets = draws.normal(size=(4, 3, 5)).astype(np.float32), draws.integers(5, size=(4, 3))
    mask = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]], np.float32)
    batch = Batch(targets, targets, mask)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    assert float(cross_entropy(logits, batch)) == pytest.approx(-chosen[mask > 0].mean(), rel=1e-5)
    right = logits.argmax(-1) == targets
    assert float(accuracy(logits, batch)) == pytest.approx(right[mask > 0].mean())
    assert float(sequence_accuracy(logits, batch)) == pytest.approx((right | (mask == 0)).all(0).mean())
    answers = draws.normal(size=(4, 3, 5)).astype(np.float32)
    squares = ((logits - answers) ** 2).sum(-1)
    assert float(squared_error(logits, batch._replace(targets=answers))) == pytest.approx(
        squares[mask > 0].mean(), rel=1e-5
    )
    assert float(cross_entropy(logits, batch._replace(mask=0 * mask))) == 0


@pytest.mark.parametrize(
    "bad, says",
    [
        ("adding(length=1)", "length=1; expected at least 2"),
        ("adding(length=-50)", "length=-50"),
        ("adding(length=21, variant='hs97')", "length=21; expected at least 22"),
        ("adding(variant='hs98')", "'hs97'"),
        ("adding(length=10.5)", "a whole number"),
        ("adding(lenght=10)", "did you mean 'length'"),
        ("copy_memory(length=0)", "length=0"),
        ("copy_memory(symbols=1)", "symbols=1"),
        ("copy_memory(tokens=0)", "tokens=0"),
        ("temporal_order(length=19)", "length=19; expected at least 20"),
        ("temporal_order(relevant=4)", "relevant=4; expected 2 or 3"),
        ("parity(length=0)", "length=0"),
        ("parity(length=5, min_length=6)", "min_length=6; expected from 1 to length=5"),
        ("parity(length=5, min_length=0)", "min_length=0"),
        ("copymemory()", "did you mean 'copy_memory'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says) as caught:
        spec.build(bad, [tasks], Task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [adding, copy_memory, temporal_order, parity])
@pytest.mark.parametrize("length", [0, -1])
def test_no_task_has_a_negative_length(make, length):
    with pytest.raises(UserError, match=f"length={length}; expected"):
        make(length=length)

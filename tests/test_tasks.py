"""Every synthetic task found in `seqjax/tasks` against the tasks' contract, and each against its paper's text."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest
from contract import close

from seqjax import Task, UserError, spec, tasks
from seqjax.tasks.adding import adding
from seqjax.tasks.associative_recall import associative_recall
from seqjax.tasks.grammar import LOSSES, SYMBOLS, legal_score, next_symbol_loss
from seqjax.tasks.marking import first_step_chance
from seqjax.tasks.multiplication import multiplication
from seqjax.tasks.parity import parity
from seqjax.tasks.scoring import accuracy, cross_entropy, sequence_accuracy, squared_error
from seqjax.tasks.showing import show
from seqjax.tasks.temporal_order import BEGIN, END, X, Y, temporal_order
from seqjax.types import Batch

FOUND = spec.names([tasks])
SIZE = 2000
# Where a task's default is long or has many symbols, a smaller form stands for it.
SMALLER = {
    "noise_free_lag": "noise_free_lag(length=6)",
    "warp": "warp(length=12, warping=3)",
    "selective_copy": "selective_copy(length=9, symbols=3, tokens=4)",
    "denoising": "denoising(length=9, symbols=3, tokens=4)",
    "embedded_reber": "embedded_reber(longest=30)",
    "continual_reber": "continual_reber(length=30)",
    "associative_recall": "associative_recall(pairs=3, keys=4, values=3)",
    "multiplication": "multiplication(length=22)",
    "two_sequence": "two_sequence(length=20)",
    "hidden_markov": "hidden_markov(length=12, states=5, symbols=3)",
}
VARIABLE = "copy_memory(length=6, symbols=3, tokens=2, variant='variable')"
UNIFORM, PADDED = "warp(length=12, warping=3, variant='uniform')", "warp(length=12, warping=3, padding=True)"
FORMS = [
    *(SMALLER.get(name, name) for name in FOUND),
    *["adding(length=2)", "adding(length=4, variant='tcn')", "adding(length=22, variant='hs97')"],
    *["adding(length=50, variant='hs97')", "copy_memory(length=1, symbols=2, tokens=1)", "copy_memory(length=20)"],
    *["temporal_order(relevant=3)", "temporal_order(length=20, relevant=3)"],
    *["parity(length=1)", "parity(length=9, min_length=3)", VARIABLE, UNIFORM, PADDED],
    *["noise_free_lag(length=6, variant='2b')", "noise_free_lag(length=5, variant='2c', distractors=3)"],
    *["two_sequence(length=20, variant='3b', informative=1)", "two_sequence(length=20, variant='3c')"],
    *["warp(length=12, warping=3, variant='uniform', padding=True)", "embedded_reber(longest=9)"],
]
NOISY = "two_sequence(length=20, variant='3c')"  # what is to be learned is not its targets
# In these the symbol just read tells something of the next, and the best guess without memory has read it.
SIGMOIDS = [
    *(f"{name[:-1]}, outputs='sigmoid')" for name in (SMALLER["embedded_reber"], SMALLER["continual_reber"])),
    *(f"noise_free_lag(length=5, variant={variant!r}, outputs='sigmoid')" for variant in ("2a", "2b", "2c")),
    "temporal_order(length=20, outputs='sigmoid')",
]
READS = [form for form in [*FORMS, *SIGMOIDS] if form.startswith(("warp", "embedded", "continual", "hidden"))]


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
    """What a network says that knows the answers, and of a grammar's also what else would be legal."""
    if task.loss.__wrapped__ is next_symbol_loss:
        return 50 * batch.targets
    if np.issubdtype(batch.targets.dtype, np.integer):
        return 50 * np.eye(task.output_size, dtype=np.float32)[batch.targets]
    return batch.targets


def test_every_task_of_the_plan_is_found():
    assert {"adding", "copy_memory", "temporal_order", "parity"} | set(SMALLER) <= set(FOUND)


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


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_is_of_its_key_alone(form):
    """Another key gives another sample; and some are drawn without a compiler too, which takes long."""
    _, compiled = draw(form)
    if form in ("adding(length=22, variant='hs97')", "parity", "temporal_order", "copy_memory", NOISY, PADDED):
        plain = spec.build(form, [tasks], Task).sample(jax.random.key(0), SIZE)
        close(compiled, plain, 3e-7)  # float32: a compiled Gaussian may round otherwise
        assert [leaf.dtype for leaf in jax.tree.leaves(plain)] == [leaf.dtype for leaf in jax.tree.leaves(compiled)]
    _, other = draw(form, seed=1)
    assert (other.inputs != compiled.inputs).any() and (other.targets != compiled.targets).any()


@pytest.mark.parametrize("form", [form for form in FORMS if form != NOISY])
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


@pytest.mark.parametrize("form", [*(form for form in FORMS if form != VARIABLE), *SIGMOIDS])
def test_the_baseline_is_the_best_guess_without_memory(form):
    """Monte Carlo: who knows the time step and how often each answer is right there, and in READS the symbol read.

    Learned on ten batches, tried on ten others. Learning K frequencies from N sequences costs about
    K/2N; the rest of the difference may be five standard errors.
    """
    task = built(form)
    learned, tried = ([draw(form, seed)[1] for seed in seeds] for seeds in (range(10), range(10, 20)))
    axis = learned[0].mask.ndim - 1
    targets, mask = (np.concatenate([getattr(b, name) for b in learned], axis) for name in ("targets", "mask"))
    shape = (*learned[0].mask.shape, task.output_size)
    groups = 1
    if task.loss.__wrapped__ in LOSSES.values():
        targets = targets.argmax(-1)
    if form in READS:
        groups, inputs = task.input_size, np.concatenate([batch.inputs for batch in learned], axis)
        count = np.zeros((shape[0], groups, task.output_size))
        np.add.at(count, (np.arange(shape[0])[:, None], inputs, targets), mask)
        frequency = np.log(count / np.maximum(count.sum(-1, keepdims=True), 1) + 1e-9).astype(np.float32)
        guess = lambda batch: frequency[np.arange(shape[0])[:, None], batch.inputs]  # noqa: E731
    else:
        if np.issubdtype(targets.dtype, np.integer):
            kinds, here = np.arange(task.output_size), np.maximum(mask.sum(axis, keepdims=True), 1)
            share = [((targets == kind) * mask).sum(axis, keepdims=True) / here for kind in kinds]
            fixed = np.log(np.stack(share, -1) + 1e-9)
        else:
            fixed = targets.mean(axis, keepdims=True)
        guess = lambda batch: np.broadcast_to(fixed, shape).astype(np.float32)  # noqa: E731
    if form in SIGMOIDS:  # from log p to log p/(1 - p)
        chances = guess
        guess = lambda batch: chances(batch) - np.log(-np.expm1(np.minimum(chances(batch), -1e-6)))  # noqa: E731
    losses = np.array([task.loss(guess(batch), batch) for batch in tried])
    error = losses.std(ddof=1) / 10**0.5
    assert abs(losses.mean() - task.baseline) < 5 * error + groups * task.output_size / (10 * SIZE)


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


# Multiplication


def test_multiplication_as_in_the_1997_paper():
    task, batch = draw(SMALLER["multiplication"])
    assert batch.inputs.shape[0] == 24 and set(batch.lengths) == {22, 23, 24}
    for b, n in enumerate(batch.lengths.tolist()):
        numbers, marks = batch.inputs[:, b].T
        places = np.flatnonzero(marks == 1)
        assert places.size == 2 and places.max() <= 10 and marks[n - 1] == -1 and not batch.inputs[n:, b].any()
        counted = [numbers[place] if place else 1.0 for place in places]
        assert batch.targets[b, 0] == pytest.approx(counted[0] * counted[1], abs=1e-6)
    assert batch.inputs[..., 0].min() >= 0 and 0.99 < batch.inputs[..., 0].max() <= 1
    off = np.tile([0.039, -0.039, 0.041, -0.041], SIZE // 4)[:, None]
    assert task.score(batch.targets + off, batch) == 0.5
    assert task.solved({"score": 0.9935, "loss": 9.0}) and not task.solved({"score": 0.993, "loss": 0.0})


def test_multiplications_baseline_by_integration():
    """E(x1 x2)² - (E x1 x2)², with x1 = 1 in a share q, on a grid."""
    q, x = first_step_chance(100), (np.arange(10_000) + 0.5) / 10_000
    product, single = x[:, None] * x[::10], x
    mean = (1 - q) * product.mean() + q * single.mean()
    square = (1 - q) * (product**2).mean() + q * (single**2).mean()
    assert multiplication(100).baseline == pytest.approx(square - mean**2, rel=1e-3)


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


# Reber: an acceptor written from the published drawing, which knows nothing of the sampler

INNER = {  # (node, symbol) -> node; of Reber's graph after its B, nodes as in the drawing from left to right
    ("start", "T"): "top",
    ("top", "S"): "top",
    ("top", "X"): "top right",
    ("start", "P"): "bottom",
    ("bottom", "T"): "bottom",
    ("bottom", "V"): "bottom right",
    ("top right", "X"): "bottom",
    ("top right", "S"): "exit",
    ("bottom right", "P"): "top right",
    ("bottom right", "V"): "exit",
}


def inner_legal(read):
    """What may follow a beginning of a Reber string: its symbols; '' where it is whole; None where it is none."""
    if not read:
        return "B"
    node = "start"
    if read[0] != "B":
        return None
    for n, symbol in enumerate(read[1:], 1):
        if node == "exit":
            return "" if (symbol, n) == ("E", len(read) - 1) else None
        if (node, symbol) not in INNER:
            return None
        node = INNER[node, symbol]
    return "E" if node == "exit" else "".join(symbol for place, symbol in INNER if place == node)


def legal(read):
    """What may follow a beginning of an embedded Reber string, as inner_legal."""
    if not read:
        return "B"
    if read[0] != "B" or (len(read) > 1 and read[1] not in "TP"):
        return None
    if len(read) == 1:
        return "TP"
    for end in range(2, len(read) + 1):
        inside = inner_legal(read[2:end])
        if inside is None:
            return None
        if inside == "":
            rest, wanted = read[end:], read[1] + "E"
            return wanted[len(rest) : len(rest) + 1] if wanted.startswith(rest) else None
    return inside


def spell(tokens):
    return "".join(SYMBOLS[token] for token in tokens)


def test_the_acceptor_knows_strings_from_the_literature():
    for string in ("BTSSXXTVVE", "BPVVE", "BTXXVPSE", "BPTVPXVVE", "BTSXSE"):
        assert inner_legal(string) == ""
        assert legal(f"BT{string}TE") == "" and legal(f"BP{string}PE") == ""
        assert legal(f"BT{string}PE") is None and legal(f"BT{string}T") == "E"
    for string in ("BTSSPXSE", "BPTVVB", "BTXXVVSE", "BVVE"):
        assert inner_legal(string) is None


@pytest.mark.parametrize("form", [SMALLER["embedded_reber"], "embedded_reber(longest=9)"])
def test_every_string_is_of_the_grammar(form):
    """Each whole string is accepted, and each step's legal symbols are those that the acceptor allows there."""
    _, batch = draw(form)
    asked = {}
    for b, n in enumerate(batch.lengths.tolist()):
        string = spell([*batch.inputs[:n, b], batch.targets[n - 1, b].argmax()])
        assert legal(string) == ""
        assert spell(batch.targets[:n, b].argmax(-1)) == string[1:]
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(len(batch.mask)) < n)
        assert not batch.targets[n:, b].any() and not batch.inputs[n:, b].any()
        for t in range(n):
            allowed = "".join(symbol for symbol, value in zip(SYMBOLS, batch.targets[t, b]) if value > 0)
            asked.setdefault(string[: t + 1], set()).add(allowed)
    assert all(
        len(found) == 1 and found == {"".join(sorted(legal(read), key=SYMBOLS.index))} for read, found in asked.items()
    )
    assert batch.lengths.min() == 8 and (batch.lengths.max() == 8 if "=9" in form else batch.lengths.max() > 20)


def test_each_way_of_a_branch_is_as_frequent():
    """Of the strings that are not cut short: the share of each choice at each node, within five standard errors."""
    _, batch = draw(SMALLER["continual_reber"])
    twos = (batch.targets > 0).sum(-1) == 2
    first = batch.targets.argmax(-1) == (batch.targets > 0).argmax(-1)
    seen = set()
    for pair in itertools.combinations(range(7), 2):
        here = twos & (batch.targets[..., pair[0]] > 0) & (batch.targets[..., pair[1]] > 0)
        if here.any():
            seen.add(spell(pair))
            assert abs(first[here].mean() - 0.5) < 5 * 0.5 / here.sum() ** 0.5
    assert seen == {"TP", "SX", "TV", "PV"}


def test_strings_that_are_bounded_are_those_that_would_have_been_drawn():
    """The distribution of strings of at most 13 symbols is that of the free grammar, given that length."""
    _, batch = draw("embedded_reber(longest=13)")
    strings = [spell([*batch.inputs[:n, b], batch.targets[n - 1, b].argmax()]) for b, n in enumerate(batch.lengths)]
    chances, begun = {}, {"": 1.0}
    while begun:
        for read, chance in list(begun.items()):
            del begun[read]
            if legal(read) == "":
                chances[read] = chance
            elif len(read) < 13:
                begun |= {read + symbol: chance / len(legal(read)) for symbol in legal(read)}
    total = sum(chances.values())
    assert set(strings) <= set(chances)
    for string, chance in chances.items():
        p = chance / total
        assert abs(strings.count(string) / SIZE - p) < 5 * (p * (1 - p) / SIZE) ** 0.5


def test_every_stream_is_strings_of_the_grammar_end_to_end():
    _, batch = draw(SMALLER["continual_reber"])
    ended = 0
    for b in range(300):
        stream = spell([*batch.inputs[:, b], batch.targets[-1, b].argmax()])
        read = ""
        for t, symbol in enumerate(stream):
            read += symbol
            assert legal(read) is not None
            if t < 30:
                wanted = "B" if legal(read) == "" else legal(read)
                assert {SYMBOLS[n] for n in np.flatnonzero(batch.targets[t, b])} == set(wanted)
            if legal(read) == "":
                read, ended = "", ended + 1
        assert spell(batch.targets[:, b].argmax(-1)) == stream[1:]
    assert ended > 300 and batch.lengths is None and batch.mask.all()


def test_the_score_of_a_grammar_wants_every_legal_symbol_before_all_others():
    targets = np.array([[[2, 1, 0]], [[0, 0, 2]]], np.float32)  # [T = 2, B = 1, 3]
    batch = Batch(np.zeros((2, 1), int), targets, np.ones((2, 1), np.float32))
    good = np.array([[[0.5, 0.4, 0.3]], [[0, 0, 1]]])
    for changed, score in [((0, 0, 1, 0.3), 0), ((0, 0, 1, 0.31), 1), ((1, 0, 0, 1.0), 0), ((0, 0, 0, 0.41), 1)]:
        outputs = good.copy()
        outputs[changed[:3]] = changed[3]
        assert legal_score(outputs, batch) == score
    hidden = batch._replace(mask=np.array([[1], [0]], np.float32))
    assert legal_score(-good * [[[-1]], [[1]]], hidden) == 1
    expected = np.log(np.exp(good).sum(-1))[:, 0] - [0.5, 1]
    assert float(next_symbol_loss(good, batch)) == pytest.approx(expected.mean(), rel=1e-5)


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


# How a task shows itself


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (SMALLER["embedded_reber"], "legal"),
        (SMALLER["noise_free_lag"], "a1 a2 a3 a4 a5"),
        (SMALLER["associative_recall"], "? ?"),
        (SMALLER["denoising"], " ."),
        ("parity(length=9, min_length=3)", "target at the end: "),
        ("adding(length=2)", "input 2"),
        ("temporal_order(length=20, relevant=3)", " E"),
    ],
)
def test_a_sample_can_be_read(form, says):
    task, batch = draw(form)
    text = show(task, batch, 3)
    assert says in text and len(text.splitlines()) < 20 and all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("name", FOUND)
def test_every_task_shows_itself(name):
    task, batch = draw(SMALLER.get(name, name))
    text = show(task, batch, SIZE - 1)
    assert "target" in text or "legal" in text
    assert len(text.splitlines()) < 30 and all(len(line) <= 110 for line in text.splitlines())


def test_a_string_is_shown_as_it_is():
    task, batch = draw(SMALLER["embedded_reber"])
    n = int(batch.lengths[0])
    read, comes, _ = (line.split()[1:] for line in show(task, batch, 0).split("\n"))
    assert "".join(read) == spell(batch.inputs[:n, 0]) and comes[:-1] == read[1:] and comes[-1] == "E"


def test_a_long_sequence_is_shown_by_its_ends():
    tokens = np.arange(1000)[:, None] % 10
    batch = Batch(tokens, np.zeros(1, int), np.ones(1, np.float32))
    text = show(parity()._replace(input_size=10), batch, 0)
    shown = [symbol for line in text.splitlines() if line.startswith("input") for symbol in line.split()[1:]]
    assert "(here 600 steps are left out)" in text and shown == [str(n % 10) for n in range(400)]


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
        ("copy_memory(variant='long')", "'variable'"),
        ("multiplication(length=21)", "length=21; expected at least 22"),
        ("noise_free_lag(length=1)", "length=1; expected at least 2"),
        ("noise_free_lag(distractors=3)", "distractors=3 is of variant='2c' alone"),
        ("noise_free_lag(variant='2c', distractors=0)", "distractors=0; expected at least 1"),
        ("two_sequence(informative=0)", "informative=0; expected at least 1"),
        ("two_sequence(length=3)", "length=3; expected more than informative=3"),
        ("embedded_reber(longest=8)", "longest=8; expected at least 9"),
        ("continual_reber(length=0)", "length=0; expected at least 1"),
        ("warp(length=1)", "length=1; expected at least 2"),
        ("warp(length=10, warping=10)", "warping=10; expected from 1 to below length=10"),
        ("warp(symbols=2)", "symbols=2; expected at least 3"),
        ("selective_copy(length=5)", "tokens=16; expected from 1 to length=5"),
        ("selective_copy(symbols=1)", "symbols=1; expected at least 2"),
        ("denoising(tokens=0)", "tokens=0; expected from 1 to length=100"),
        ("denoising(symbols=1)", "symbols=1; expected at least 2"),
        ("associative_recall(pairs=27)", "pairs=27; expected from 1 to keys=26"),
        ("associative_recall(keys=0)", "keys=0; expected at least 1"),
        ("associative_recall(values=1)", "values=1; expected at least 2"),
        ("copymemory()", "did you mean 'copy_memory'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says) as caught:
        spec.build(bad, [tasks], Task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in FOUND if spec.accepts(spec.parse(name), [tasks], "length")])
@pytest.mark.parametrize("length", [0, -1])
def test_no_task_has_a_negative_length(name, length):
    with pytest.raises(UserError, match=f"length={length}; expected"):
        spec.build(f"{name}(length={length})", [tasks], Task)

"""Every synthetic task found in `seqjax/tasks` against the tasks' contract; what they refuse."""

import math

import jax
import numpy as np
import pytest
from contract import close
from drawing import FORMS, FOUND, NOISY, PADDED, READS, SIGMOIDS, SIZE, SMALLER, VARIABLE, built, draw, perfect

from seqjax import Task, UserError, spec, tasks
from seqjax.tasks.grammar import LOSSES
from seqjax.tasks.scoring import above, accuracy, at_least, cross_entropy, masked_mean, sequence_accuracy, squared_error
from seqjax.training.own_task import require_whole
from seqjax.types import Batch


def test_every_task_of_the_plan_is_found():
    assert {"adding", "copy_memory", "temporal_order", "parity"} | set(SMALLER) <= set(FOUND)


@pytest.mark.parametrize("form", FORMS)
def test_a_sample_is_what_a_batch_says(form):
    task, batch = draw(form)
    require_whole(task)
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
    if form in ("parity", NOISY, PADDED):
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
def test_a_network_that_diverged_has_solved_nothing(form):
    """Neither from the beginning on nor, where there are steps, from the middle on."""
    task, batch = draw(form)
    for begin in (0, len(batch.mask) // 2):
        outputs = perfect(task, batch).copy()
        outputs[begin:] = np.nan
        metrics = {"loss": task.loss(outputs, batch), "score": task.score(outputs, batch)}
        assert not task.solved(metrics)


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


# Losses and scores


@pytest.mark.parametrize(("shape", "asked"), [((100,), 0.99), ((5000,), 0.999), ((10, 1000), 0.99), ((1000,), 0.999)])
def test_a_share_that_is_asked_for_is_reached_by_it(shape, asked):
    """Also in a compiled program that knows the mask, where a quotient may become a product that is less."""
    right = np.arange(math.prod(shape)).reshape(shape) < round(asked * math.prod(shape))

    def judged(right):
        found = masked_mean(right, np.ones(shape, np.float32))
        return at_least(found, asked), above(found, asked)

    one_less, one_more = right.copy(), right.copy()
    one_less.flat[0], one_more.flat[-1] = False, True
    reached, exceeded = jax.jit(jax.vmap(judged))(np.stack([one_less, right, one_more]))
    assert reached.tolist() == [False, True, True] and exceeded.tolist() == [False, False, True]


def test_losses_are_means_over_the_mask():
    draws = np.random.default_rng(0)
    logits, targets = draws.normal(size=(4, 3, 5)).astype(np.float32), draws.integers(5, size=(4, 3))
    mask = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0]], np.float32)
    targets[:, 0] = logits[:, 0].argmax(-1)
    batch = Batch(targets, targets, mask)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    answers = draws.normal(size=(4, 3, 5)).astype(np.float32)

    @jax.jit
    def measured(logits, batch, answers):
        ratings = [rate(logits, batch) for rate in (cross_entropy, accuracy, sequence_accuracy)]
        nothing = cross_entropy(logits, batch._replace(mask=0 * batch.mask))
        return *ratings, squared_error(logits, batch._replace(targets=answers)), nothing

    *ratings, squared, nothing = measured(logits, batch, answers)
    right = logits.argmax(-1) == targets
    sequences = (right | (mask == 0)).all(0)[:2]  # nothing is asked of the third
    np.testing.assert_allclose(ratings[0], -chosen[mask > 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(ratings[1:], [right[mask > 0].mean(), sequences.mean()], rtol=1e-6)
    np.testing.assert_allclose(squared, ((logits - answers) ** 2).sum(-1)[mask > 0].mean(), rtol=1e-5)
    assert nothing == 0


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

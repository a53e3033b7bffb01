"""Language models: what a token is, state carried from window to window, and writing on."""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import SMALL, stopped_and_gone_on_with, trained_and_measured

from experiments import generate
from seqjax import UserError
from seqjax.cells.lstm import lstm
from seqjax.data.char_lm import char_lm
from seqjax.data.word_lm import word_lm
from seqjax.models.continuing import continued
from seqjax.models.sequence import sequence_model
from seqjax.training import prepare, train
from seqjax.training.evaluation import evaluate
from seqjax.training.preparing import initialize
from seqjax.training.stream import begins, train_batch

LINES = ["the cat sat", "", "the dog ran off", "a cat ran"] * 4


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(line + "\n" for line in LINES))
    return str(path)


@functools.cache
def model_of(symbols):
    """A Model of tokens, its jitted `apply`, and parameters."""
    model = sequence_model(lstm(hidden=3), symbols, symbols, tokens=True)
    return model, jax.jit(model.apply), jax.jit(model.init)(jax.random.key(0))


def test_the_last_lines_of_a_single_file_are_tested_on(text):
    task = char_lm(text, window=400, test_share=0.25)
    shown = [
        task.show(jax.device_get(task.examples.batch(part)), 0) for part in (task.examples.train, task.examples.test)
    ]
    train, test = ("".join(line + "\n" for line in part) for part in (LINES[:12], LINES[12:]))
    assert shown == [f"input    {part[:-1]!r}\ntarget   {part[1:]!r}" for part in (train, test)]


def test_rare_words_are_one_word(text):
    whole, rare, few = (word_lm(text, **given) for given in ({}, {"min_count": 4}, {"most": 4}))
    assert whole.input_size == 8  # seven words and <eos>
    assert rare.input_size == 6  # <eos>, the, cat, sat, ran and <unk>, in the 14 lines that are trained on
    assert few.input_size == 4 and few.continuation.prompt("the zebra").shape == (2, 1)
    assert few.baseline < rare.baseline < whole.baseline
    with pytest.raises(UserError, match="'zebra' does not occur in the text that was trained on"):
        whole.continuation.prompt("the zebra")
    for wrong in ({"most": 0}, {"min_count": 0}, {"test_share": 1.0}):
        (name,) = wrong
        with pytest.raises(UserError, match=name):
            word_lm(text, **wrong)
    for kind, alone in ((word_lm, {"min_count": 99}), (char_lm, {"min_count": 999}), (word_lm, {"most": 1})):
        with pytest.raises(UserError, match="'<unk>' is the only token told apart in the training text"):
            kind(text, **alone)


def test_batches_follow_each_other(text):
    """Each sequence of a batch goes on where it was in the batch before, and all begin again together."""
    task = char_lm(text, window=5)
    data, batches = task.examples.train, len(task.examples.train.steps) // 3
    batch = jax.jit(lambda number: train_batch(task, data, jax.random.key(0), number, 3))
    read = [jax.device_get(batch(number)) for number in range(batches + 1)]
    for before, after in itertools.pairwise(read[:batches]):
        np.testing.assert_array_equal(before.targets[-1], after.inputs[0])
    np.testing.assert_array_equal(read[batches].inputs, read[0].inputs)
    assert [bool(begins(data, number, 3)) for number in range(batches + 1)] == [True, *[False] * (batches - 1), True]


def test_evaluation_carries_its_state_through_the_whole_text(text):
    """Windows of 5 in one part are one window of the whole text; in two parts the second begins anew."""
    task, whole = (char_lm(text, window=window, test_share=0.5) for window in (5, 400))
    model, apply, params = model_of(task.input_size)
    measure = jax.jit(lambda size: evaluate(task, model, params, task.examples.test, size), static_argnums=0)
    batch = whole.examples.batch(whole.examples.test)
    losses = lambda batch: np.asarray(  # noqa: E731
        jax.nn.logsumexp(apply(params, batch.inputs, batch.lengths)[0], -1)
        - jnp.take_along_axis(apply(params, batch.inputs, batch.lengths)[0], batch.targets[..., None], -1)[..., 0]
    )
    steps = int(batch.lengths[0])
    one = losses(batch)[:steps, 0]
    assert measure(1)["loss"] == pytest.approx(one.mean(), rel=1e-5)
    half = -(-len(task.examples.test.steps) // 2) * 5
    later = batch._replace(inputs=batch.inputs[half:], targets=batch.targets[half:], lengths=batch.lengths - half)
    two = np.concatenate([one[:half], losses(later)[: steps - half, 0]])
    assert measure(2)["loss"] == pytest.approx(two.mean(), rel=1e-5)
    assert abs(measure(1)["loss"] - measure(2)["loss"]) > 1e-4


CONFIG = SMALL._replace(
    cell="lstm(hidden=3)",
    learning_rates=(0.5,),
    seeds=1,
    optimizer="sgd",
    clip_norm=None,
    steps=4,
    batch_size=2,
    eval_size=2,
    probe_size=2,
    checkpoint_every=2,
)


def test_a_penalty_of_a_fresh_state_is_refused_where_the_state_is_carried_on(text):
    config = CONFIG._replace(task=f"char_lm(data={text!r}, window=60)", penalty="vanishing(weight=1.0)")
    with pytest.raises(UserError, match=r"--penalty='vanishing\(weight=1.0\)' is measured from a fresh state"):
        prepare(config, "map")


def test_training_is_truncated_backpropagation(text):
    """Against a loop by hand: the state goes on, its gradient does not, and it is anew with the text."""
    config = CONFIG._replace(task=f"char_lm(data={text!r}, window=60)", steps=7)
    prepared = prepare(config, "map")
    model, task = prepared.model, prepared.task
    assert len(task.examples.train.steps) // 2 == 1 or not begins(task.examples.train, 1, 2)
    state = jax.tree.map(lambda leaf: leaf[0], initialize(prepared))
    chunk = jax.jit(functools.partial(trained_and_measured, prepared.program))
    params, carry = state.params, state.carry

    @jax.jit
    def by_hand(params, carry, number):
        batch = train_batch(task, task.examples.train, state.stream("train"), number, 2)

        def loss(params):
            outputs, after = model.apply(params, batch.inputs, batch.lengths, carry=carry)
            return task.loss(outputs, batch), after

        grads, carry_after = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), carry_after

    for number in range(7):
        if begins(task.examples.train, number, 2):
            carry = jax.tree.map(jnp.zeros_like, carry)
        params, carry = by_hand(params, carry, number)
    state, _ = chunk(state, np.int32(7), prepared.program.data)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        (state.params, state.carry),
        (params, carry),
    )


def test_stopped_and_gone_on_with_is_as_never_stopped(text, tmp_path):
    prepared = prepare(CONFIG._replace(task=f"char_lm(data={text!r}, window=9)"), "map")
    train(prepared, tmp_path / "whole", command="test")

    stopped_and_gone_on_with(prepared, tmp_path)
    where = str(tmp_path / "run")
    assert generate.main([where, "--prompt=the ", "--steps=5", "--temperature=0.5", "--samples=2"]) == 0


def test_a_text_that_is_carried_is_read_forwards_and_whole(text):
    config = CONFIG._replace(task=f"char_lm(data={text!r})")
    with pytest.raises(UserError, match="--bidirectional"):
        prepare(config._replace(bidirectional=True), "map")
    with pytest.raises(UserError, match="--mesh: data=2"):
        prepare(config, "data=2")


def test_what_comes_next_is_not_to_be_read(text):
    """Neither where the state is carried on nor where it is not: both ways, a network would read its targets."""
    for more in ("", ", carried=False"):
        with pytest.raises(UserError, match=r"--bidirectional: --task=.* asks for what comes next"):
            prepare(CONFIG._replace(task=f"char_lm(data={text!r}{more})", bidirectional=True), "map")


def test_another_text_has_another_alphabet(text, tmp_path):
    """As large, with other symbols, of which a network for the one knows nothing."""
    other = tmp_path / "other.txt"
    symbols = sorted(set(Path(text).read_text()) - {"\n"})
    renamed = dict(zip(symbols, [*symbols[1:], "@"]))
    other.write_text("".join(renamed.get(symbol, symbol) for symbol in Path(text).read_text()))
    config = CONFIG._replace(task=f"char_lm(data={text!r})", eval_task=f"char_lm(data={str(other)!r})")
    with pytest.raises(UserError, match="its symbols or units, learned from its own rows to train on, are not those"):
        prepare(config, "map")
    prepare(config._replace(eval_task=f"char_lm(data={text!r}, window=9)"), "map")


def test_writing_on_is_reading_what_was_written():
    """Greedy: each symbol is the likeliest after all before it, by a fresh pass over them."""
    model, apply, params = model_of(5)
    prompt = jnp.asarray([[1, 2], [3, 0]], jnp.int32)
    greedy = lambda key, outputs, before: jnp.argmax(outputs, -1).astype(jnp.int32)  # noqa: E731
    for steps in (1, 4):
        written = jax.jit(lambda n=steps: continued(model, params, jax.random.key(0), prompt, n, greedy))()
        assert written.shape == (2 + steps, 2)
        outputs = np.asarray(apply(params, written)[0])
        np.testing.assert_array_equal(written[2:], outputs[1:-1].argmax(-1))


def test_draws_follow_the_chances_and_leave_out_what_may_not_be_said(text):
    task = word_lm(text, most=4)
    names = task.continuation.spell(np.arange(4)).split()
    outputs = jnp.log(jnp.asarray([[0.4, 0.3, 0.2, 0.1]]))
    draw = jax.jit(lambda keys: jax.vmap(lambda key: task.continuation.draw(key, outputs, None, lambda x: x)[0])(keys))
    counts = np.bincount(np.asarray(draw(jax.random.split(jax.random.key(0), 4000))), minlength=4)
    unknown = names.index("<unk>")
    chances = np.array([0.4, 0.3, 0.2, 0.1])
    chances[unknown] = 0
    np.testing.assert_allclose(counts / 4000, chances / chances.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--steps=0", "--steps=0; expected 1 to 2147483647"),
        ("--temperature=0", "--temperature=0.0; expected a number from 1e-6 to 1e6"),
        ("--top_p=2", "--top_p=2.0; expected more than 0 and at most 1"),
        ("--top_k=0", "--top_k=0; expected 1 to 2147483647"),
    ],
)
def test_what_generate_refuses(flag, words, tmp_path, capsys):
    assert generate.main([str(tmp_path), flag]) == 2
    assert words in capsys.readouterr().err

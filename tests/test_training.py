"""Training: runs side by side and alone, divergence, batches in epochs, optimizers, checkpoints, resuming."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.training import Config, prepare, train
from seqjax.training.checkpoint import Checkpoints
from seqjax.training.config import build_task
from seqjax.training.optimizer import make_optimizer
from seqjax.training.preparing import initialize
from seqjax.training.record import Lines, create
from seqjax.training.state import NEVER
from seqjax.training.stream import shuffled, train_batch
from seqjax.training.telling import description
from seqjax.types import Batch, Examples, Task, UserError

SMALL = Config(
    cell="lstm(hidden=4)",
    task="parity(length=6, min_length=2)",
    learning_rates=(1e-2, 3e-2),
    seeds=2,
    steps=6,
    batch_size=4,
    eval_every=2,
    eval_size=8,
    probe_every=4,
    probe_size=3,
    checkpoint_every=4,
)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def final_state(directory):
    checkpoints = Checkpoints(directory / "checkpoints")
    _, state = checkpoints.latest()
    checkpoints.close()
    return state


once = functools.cache(prepare)  # of one configuration the program is compiled once


def run_all(config, mesh="run=1"):
    """The states after one chunk, in the order of the runs; where only the runs differ, by one program."""
    prepared = once(config, mesh)
    places = prepared.layout
    state = places.put(initialize(prepared))
    data = places.put(prepared.program.data, shared=True)
    alike = once(config._replace(learning_rates=(0.1, 0.2), seeds=2, first_seed=0), mesh)
    state, metrics = alike.compiled.chunk(state, np.int32(config.steps), data)
    order = [int(np.flatnonzero(places.slots == number)[0]) for number in range(len(config.runs))]
    return jax.tree.map(lambda leaf: np.asarray(leaf)[order], (state, metrics))


def stopped_and_gone_on_with(prepared, folder):
    """Train in folder/run as far as step 2, then to the end; to the bit the records are those of folder/whole."""

    def stop(step, words):
        if step == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(prepared, folder / "run", command="test", progress=stop)
    train(prepared, folder / "run", command="test", resume=True)
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (folder / "run" / name).read_bytes() == (folder / "whole" / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run directory of SMALL, never interrupted."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    result = train(once(SMALL, "run=1"), directory, command="test")
    return directory, result


def test_the_run_directory_tells_everything(whole):
    directory, result = whole
    config = json.loads((directory / "config.json").read_text())
    assert config["kind"] == "train" and config["config"]["cell"] == SMALL.cell
    assert config["task"]["length"] == 6 and config["task"]["baseline"] == pytest.approx(np.log(2))
    assert config["environment"]["versions"]["jax"] == jax.__version__
    assert config["environment"]["device"]["platform"] == "cpu"
    metrics = lines(directory / "metrics.jsonl")
    assert [(line["step"], line["run"]) for line in metrics] == [(s, r) for s in (2, 4, 6) for r in range(4)]
    gradients = lines(directory / "gradients.jsonl")
    assert sorted({line["step"] for line in gradients}) == [0, 4, 6]
    assert set(gradients[0]["log10_norm"]) == {"carry", "layer_0/h", "layer_0/c"}
    assert len(gradients[0]["log10_norm"]["carry"]) == 6
    assert [run["seed"] for run in result["runs"]] == [0, 1, 0, 1]
    assert result["runs"][3]["loss"] == metrics[-1]["loss"]
    events = list(directory.glob("tensorboard/*/events*"))
    assert len(events) == 4 and all(path.stat().st_size > 0 for path in events)


def test_training_lowers_the_loss():
    config = SMALL._replace(task="parity(length=2)", learning_rates=(3e-2,), seeds=1, steps=150, batch_size=32)
    _, metrics = run_all(config)
    assert metrics["loss"][0] < 0.1 < np.log(2)


def test_another_task_is_measured_and_solved_and_not_trained_on():
    """After one step, by hand: the loss trained on is the one task's; loss, score and baseline are the other's."""
    lengths = {"task": "parity(length=3)", "eval_task": "parity(length=5)"}
    config = SMALL._replace(cell="rnn(hidden=2)", seeds=1, learning_rates=(1e-2,), **lengths)
    prepared = prepare(config, "run=1")
    model, task, other = prepared.model, build_task("parity(length=3)"), build_task("parity(length=5)")
    begun = jax.tree.map(lambda leaf: leaf[0], initialize(prepared))
    shapes = []

    def loss(task, params, batch):
        shapes.append(batch.inputs.shape)
        return task.loss(model.apply(params, batch.inputs)[0], batch)

    @jax.jit
    def both(begun):
        run, metrics = prepared.program.chunk(begun, 1, prepared.program.data)
        here = train_batch(task, (), begun.stream("train"), begun.step, config.batch_size)
        there = other.sample(jax.random.fold_in(run.stream("eval"), run.step), config.eval_size)
        return metrics, loss(task, begun.params, here), loss(other, run.params, there)

    metrics, trained, measured = both(begun)
    assert shapes == [(3, 4), (5, 8)]
    np.testing.assert_allclose(metrics["train_loss"], trained, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], measured, rtol=1e-5)
    told = description(prepared, "test")["task"]
    assert told["length"] == 3 and told["criterion"].endswith("on parity(length=5)")


@pytest.mark.parametrize(
    ("eval_task", "words"),
    [
        ("temporal_order", "input size is 8"),
        ("associative_recall(pairs=1, keys=1, values=2)", "input size is 4"),
        ("mine.every", "readout is every, that of --task='parity(length=6, min_length=2)' is last"),
        ("mine.vectors", "tokens as inputs is False"),
        ("mine.squared", "loss is squared_error"),
    ],
)
def test_a_task_of_another_kind_is_not_measured(eval_task, words, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from seqjax import Task\n"
        "from seqjax.tasks.parity import parity\n"
        "from seqjax.tasks.scoring import squared_error\n"
        "def every() -> Task: return parity()._replace(readout='every')\n"
        "def vectors() -> Task: return parity()._replace(tokens=False)\n"
        "def squared() -> Task: return parity()._replace(loss=squared_error)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=re.escape(words)):
        prepare(SMALL._replace(eval_task=eval_task))


def test_a_run_does_not_depend_on_its_neighbours():
    """The run of seed 1 at 3e-2, in one program with others: not a bit differs."""
    one, _ = run_all(SMALL)
    other, _ = run_all(SMALL._replace(learning_rates=(5e-3, 3e-2), first_seed=1))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[3], b[2]), one.params, other.params)
    alone, _ = run_all(SMALL._replace(learning_rates=(3e-2,), first_seed=1, seeds=1))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[3], b[0], 1e-5, 1e-7), one.params, alone.params)


def test_a_diverged_run_is_frozen_and_its_neighbours_go_on(tmp_path):
    """A learning rate of 1e38 makes parameters infinite; the other run is as beside one that goes well."""
    config = SMALL._replace(learning_rates=(1e-2, 1e38), seeds=1, optimizer="sgd", clip_norm=None)
    state, _ = run_all(config)
    calm, _ = run_all(config._replace(learning_rates=(1e-2, 2e-2)))
    assert state.diverged_at.tolist() == [NEVER, state.step[1] + 1] and state.step[1] < 6
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b[0]), calm.params, state.params)
    result = train(prepare(config, "run=1"), tmp_path / "run", command="test")
    assert [run["status"] for run in result["runs"]] == ["unsolved", "diverged"]
    assert result["runs"][1]["diverged_at"] == int(state.diverged_at[1])
    assert "NaN" not in (tmp_path / "run/metrics.jsonl").read_text()


def test_a_solved_run_stops(tmp_path):
    (tmp_path / "easy.py").write_text(
        "from seqjax.tasks.parity import parity\n"
        "from seqjax.types import Task\n"
        "def easy(length: int = 3) -> Task:\n"
        "    return parity(length)._replace(solved=lambda metrics: metrics['loss'] < 100)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        config = SMALL._replace(cell="rnn(hidden=2)", task="easy.easy()", seeds=1)
        result = train(prepare(config, "run=1"), tmp_path / "stops", command="test")
        assert [run["solved_at"] for run in result["runs"]] == [2, 2]
        assert [run["steps"] for run in result["runs"]] == [2, 2]
        config = config._replace(stop_when_solved=False)
        result = train(prepare(config, "run=1"), tmp_path / "goes_on", command="test")
        assert [(run["solved_at"], run["steps"]) for run in result["runs"]] == [(2, 6), (2, 6)]
    finally:
        sys.path.remove(str(tmp_path))


def test_a_finished_run_is_not_trained_again(whole):
    directory, result = whole
    before = (directory / "metrics.jsonl").stat().st_mtime_ns
    assert train(once(SMALL, "run=1"), directory, command="test", resume=True) == result
    assert (directory / "metrics.jsonl").stat().st_mtime_ns == before


def test_an_existing_directory_is_not_overwritten(whole, tmp_path):
    directory, _ = whole
    with pytest.raises(UserError, match="exists; --resume continues it"):
        train(once(SMALL, "run=1"), directory, command="test")
    with pytest.raises(UserError, match="was made with steps=6, not 8"):
        train(prepare(SMALL._replace(steps=8), "run=1"), directory, command="test", resume=True)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no run's"):
        create(tmp_path, {}, resume=False)


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs a path that not even root can write")
def test_a_directory_that_cannot_be_written_is_one_line():
    with pytest.raises(UserError, match="cannot be written") as caught:
        create(Path("/proc/self/run"), {}, resume=False)
    assert "\n" not in str(caught.value)


KILLED = """
import sys, pathlib
from seqjax.training import prepare, train
sys.path.insert(0, {tests!r})
from test_training import SMALL
def progress(step, words):
    print("at", step, flush=True)
    if step in (2, 4):
        sys.stdin.readline()
train(prepare(SMALL, "run=1"), pathlib.Path({directory!r}), command="test", progress=progress)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What kill -9 leaves of SMALL at step 2, before the first checkpoint, and at step 4, after one.

    Of step 2 it is a copy, made while the process stands still: what it holds in its own memory is lost alike.
    """
    folder = tmp_path_factory.mktemp("killed")
    script = KILLED.format(tests=os.path.dirname(__file__), directory=str(folder / "4"))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        while child.stdout.readline() != "at 2\n":
            assert child.poll() is None
        shutil.copytree(folder / "4", folder / "2")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "at 4\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    return folder


@pytest.mark.parametrize("stop", [2, 4])
def test_killed_and_resumed_is_as_never_interrupted(whole, killed, stop):
    """kill -9, with a torn line behind it."""
    directory = killed / str(stop)
    assert len(list(directory.glob("checkpoints/[0-9]"))) == stop // 4
    assert not (directory / "result.json").exists()
    with (directory / "metrics.jsonl").open("a") as torn:
        torn.write('{"step": 6, "ru')
    result = train(once(SMALL, "run=1"), directory, command="test", resume=True)
    unbroken, wanted = whole
    assert result["runs"] == wanted["runs"]
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (directory / name).read_bytes() == (unbroken / name).read_bytes()
    jax.tree.map(np.testing.assert_array_equal, final_state(directory)["runs"], final_state(unbroken)["runs"])


def test_behind_the_first_line_of_a_later_step_none_is_kept(tmp_path):
    """Run 1 ended at step 2, and was told of at the end: where its line stands depends on what comes before it."""
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step, "run": run}) + "\n" for step, run in [(1, 0), (4, 0), (2, 1)]))
    Lines(path, up_to=2).close()
    assert lines(path) == [{"step": 1, "run": 0}]


def test_lines_are_cut_back_to_a_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "run": 0}\n{"step": 2, "run": 0}\n{"step"')
    file = Lines(path, up_to=1)
    file.write([{"step": 1, "run": 0}, {"step": 2, "run": 0, "loss": float("nan")}])
    file.close()
    assert lines(path) == [{"step": 1, "run": 0}, {"step": 2, "run": 0, "loss": None}]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 64, 65, 1000])
def test_shuffled_is_a_permutation(count):
    each = jax.vmap(jax.vmap(lambda key, place: shuffled(key, place, count), (None, 0)), (0, None))
    orders = np.asarray(jax.jit(lambda places: each(jax.random.split(jax.random.key(0), 3), places))(np.arange(count)))
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count >= 64:
        assert abs(np.corrcoef(orders[0], np.arange(count))[0, 1]) < 0.4
        assert (orders[0] != orders[1]).mean() > 0.8


def test_the_shuffle_is_uniform():
    """Where place 0 goes, over many keys: every one of 10 examples about equally often."""
    each = jax.jit(lambda key: jax.vmap(lambda key: shuffled(key, jnp.int32(0), 10))(jax.random.split(key, 5000)))
    counts = np.bincount(np.asarray(each(jax.random.key(1))), minlength=10)
    assert np.sum((counts - 500) ** 2 / 500) < 27.9  # chi-square with 9 degrees of freedom, p = .001


def stored(count):
    """A task whose stored example n is the number n."""
    examples = Examples(np.arange(count), np.arange(5), lambda n: Batch(n[None, :, None], n, jnp.ones(n.shape)))
    error = lambda outputs, batch: jnp.mean(batch.targets * batch.mask) * len(batch.mask) / jnp.sum(batch.mask)  # noqa: E731
    return Task(None, error, error, None, 1, 1, 0.0, "last", examples=examples)


def test_real_data_is_read_in_epochs():
    task, key = stored(13), jax.random.key(0)
    batch = lambda train, k: train_batch(task, train, key, k, 4).targets  # noqa: E731
    seen = np.asarray(jax.jit(jax.vmap(batch, (None, 0)))(task.examples.train, np.arange(9)))
    for epoch in range(3):
        assert len(set(np.concatenate(seen[3 * epoch : 3 * epoch + 3]).tolist())) == 12
    assert not np.array_equal(np.concatenate(seen[:3]), np.concatenate(seen[3:6]))


def test_evaluation_reads_the_whole_test_split():
    from seqjax.training.evaluation import evaluate
    from seqjax.training.state import blank
    from seqjax.types import Model

    model = Model(None, lambda params, inputs, lengths: (inputs[0], ()), None, None, None)
    run = jax.jit(blank)(0, 0.1, True)
    sizes = (1, 2, 5, 1000)
    each = jax.jit(lambda test: [evaluate(stored(3), model, run, test, size)["loss"] for size in sizes])
    assert each(np.arange(5)) == [2.0] * 4


def test_optimizers_by_spec():
    params, grads = np.zeros(2, np.float32), np.array([3.0, 4.0], np.float32)

    def updates(steps, *options):
        """What so many steps with the same gradient add."""
        optimizer = make_optimizer(*options)(0.1)

        @jax.jit
        def run(grads):
            state, found = optimizer.init(params), []
            for _ in range(steps):
                each, state = optimizer.update(grads, state)
                found.append(each)
            return found

        return run(grads)

    for clip_norm, clip_value, wanted in ((None, None, [3, 4]), (1.0, None, [0.6, 0.8]), (None, 3.5, [3, 3.5])):
        np.testing.assert_allclose(
            updates(1, "sgd", None, clip_norm, clip_value)[0], -0.1 * np.array(wanted), rtol=1e-6
        )
    found = updates(3, "sgd", "cosine_decay_schedule(decay_steps=2)", None, None)
    np.testing.assert_allclose(found, -0.1 * np.outer([1.0, 0.5, 0.0], grads), atol=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"optimizer": "adam(learning_rate=1)"}, "takes no argument 'learning_rate'"),
        ({"optimizer": "adam(b3=1)"}, "takes no argument 'b3'"),
        ({"optimizer": "adam("}, "--optimizer"),
        ({"schedule": "cosine"}, "--schedule='cosine'"),
        ({"schedule": "cosine_decay_schedule"}, "decay_steps"),
        ({"learning_rates": (-1.0,)}, "--learning_rates has -1.0"),
        ({"learning_rates": (float("nan"),)}, "--learning_rates has nan"),
        ({"learning_rates": (0.1, 0.1)}, "each once"),
        ({"seeds": 0}, "--seeds=0; expected at least 1"),
        ({"steps": -1}, "--steps=-1; expected at least 0"),
        ({"clip_norm": -1.0}, "--clip_norm=-1.0"),
        ({"cell": "lsmt(hidden=8)"}, "--cell='lsmt(hidden=8)': no cell 'lsmt'; did you mean 'lstm'? cells:"),
        ({"task": "adding(length=-5)"}, "--task='adding(length=-5)': adding: length=-5; expected at least 2"),
        ({"dropout": 0.5}, "needs layers of 2 or more"),
    ],
)
def test_a_wrong_setting_is_one_line(change, words):
    with pytest.raises(UserError) as caught:
        prepare(SMALL._replace(**change))
    assert words in str(caught.value) and "\n" not in str(caught.value)

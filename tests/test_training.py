"""Training: runs side by side and alone, divergence, tasks measured on another, wrong settings."""

import re
import sys

import jax
import numpy as np
import pytest
from small_data import both_written
from small_runs import SMALL, run_all, trained_and_measured

from seqjax.training import prepare, train
from seqjax.training.building import build_task
from seqjax.training.preparing import initialize
from seqjax.training.state import NEVER, decided
from seqjax.training.stream import train_batch
from seqjax.training.telling import description
from seqjax.types import UserError


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
        run, metrics = trained_and_measured(prepared.program, begun, 1, prepared.program.data)
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


@pytest.mark.parametrize(
    ("solved_at", "diverged_at", "done", "known"),
    [
        ([[5, 5], [NEVER, NEVER]], [[NEVER, NEVER], [NEVER, NEVER]], 5, True),
        ([[5, NEVER], [NEVER, NEVER]], [[NEVER, NEVER], [NEVER, NEVER]], 9, False),
        ([[1, 9], [2, NEVER]], [[NEVER, NEVER], [NEVER, NEVER]], 9, True),  # at best 2 and 10, which is 6 > 5
        ([[3, 9], [1, NEVER]], [[NEVER, NEVER], [NEVER, NEVER]], 9, False),  # at best 1 and 10, which is 5.5 < 6
        ([[3, 9], [1, NEVER]], [[NEVER, NEVER], [NEVER, 4]], 9, True),  # but diverged
        ([[3, 5], [NEVER, NEVER]], [[NEVER, 7], [NEVER, NEVER]], 9, False),  # solved, and diverged later
        ([[9, 9], [3, 9], [4, NEVER]], [[NEVER, NEVER]] * 3, 9, True),  # 7 against 6 of the second
        ([[NEVER, NEVER], [NEVER, NEVER]], [[4, 4], [NEVER, 4]], 9, False),
        ([[5, 6], [1, NEVER]], [[NEVER, NEVER], [NEVER, NEVER]], 9, False),  # 5.5 for both: the final loss may decide
    ],
)
def test_a_grid_is_decided_once_no_other_rate_can_be_the_best(solved_at, diverged_at, done, known):
    assert decided(np.array(solved_at), np.array(diverged_at), done) is known


def test_a_decided_grid_ends_and_tells_the_same_of_its_best_rate(tmp_path):
    """At 1e-6 nothing is learned: with stop_when_decided those runs end with the last of the best rate's."""
    config = SMALL._replace(task="parity(length=2)", learning_rates=(1e-6, 3e-2))
    config = config._replace(steps=400, eval_every=20, eval_size=100)
    whole, early = (
        train(prepare(config._replace(stop_when_decided=stop)), tmp_path / str(stop), command="test")["runs"]
        for stop in (False, True)
    )
    assert whole[2:] == early[2:]
    last = max(run["solved_at"] for run in early[2:])
    assert [run["steps"] for run in early[:2]] == [last, last] and [run["steps"] for run in whole[:2]] == [400, 400]


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "linen(cell='GRUCell', hidden=3)"},
        {"task": "embedded_reber", "online": True},
        {"task": "pixel_images"},
    ],
    ids=str,
)
def test_with_64_bits_numbers_are_of_one_kind_all_along(settings, tmp_path, float64):
    """Flax's parts, and data, are of 32 bits even then."""
    if settings.get("task") == "pixel_images":
        settings = {"task": f"pixel_images(data={both_written('pixel_images', tmp_path)!r})"}
    program = prepare(SMALL._replace(**settings), "map").program
    state = jax.eval_shape(program.init, np.int32(0), np.float32(0.01), np.bool_(True))
    trained = jax.eval_shape(program.train, state, np.int32(1), program.data)
    after, _ = jax.eval_shape(program.evaluate, trained, program.data)
    alike = jax.tree.map(lambda one, other: one.dtype == other.dtype, state, after)
    assert all(jax.tree.leaves(alike)), alike

"""The run directory: what it tells, that nothing overwrites it, and that a killed run goes on as if never killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import SMALL, final_state, lines, once

from seqjax.training import loop, prepare, train
from seqjax.training.prediction import restore
from seqjax.training.record import create
from seqjax.training.signals import Preempted
from seqjax.types import UserError


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


def test_a_finished_run_is_not_trained_again(whole):
    directory, result = whole
    before = (directory / "metrics.jsonl").stat().st_mtime_ns
    assert train(once(SMALL, "run=1"), directory, command="test", resume=True) == result
    assert (directory / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_finished_run_whose_numbers_are_lost_says_so(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_text("")
    (tmp_path / "run/result.json").unlink()
    with pytest.raises(UserError, match=r"metrics\.jsonl has no evaluation of run 0 any more"):
        train(once(SMALL, "run=1"), tmp_path / "run", command="test", resume=True)


def test_an_existing_directory_is_not_overwritten(whole, tmp_path):
    directory, _ = whole
    with pytest.raises(UserError, match="exists; --resume continues it"):
        train(once(SMALL, "run=1"), directory, command="test")
    with pytest.raises(UserError, match="was made with steps=6, not 4"):
        train(prepare(SMALL._replace(steps=4), "run=1"), directory, command="test", resume=True)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no run's"):
        create(tmp_path, {}, resume=False)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed/.config.json.7.partial").write_text("{")  # by a writer that was killed
    create(tmp_path / "killed", {}, resume=False)


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs a path that not even root can write")
def test_a_directory_that_cannot_be_written_is_one_line():
    with pytest.raises(UserError, match="cannot be written") as caught:
        create(Path("/proc/self/run"), {}, resume=False)
    assert "\n" not in str(caught.value)


KILLED = """
import sys, pathlib
from seqjax.training import prepare, train
sys.path.insert(0, {tests!r})
from small_runs import SMALL
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


RATES = (1e-2, 1e38)  # at the second they diverge
PIECES = SMALL._replace(eval_every=5, steps=8, checkpoint_every=3, learning_rates=RATES)


@pytest.fixture(scope="module")
def in_long_pieces(tmp_path_factory):
    """A run directory of PIECES, in pieces that soon reach from one evaluation to the next."""
    directory = tmp_path_factory.mktemp("pieces") / "run"
    train(once(PIECES, "run=1"), directory, command="test")
    return directory


@pytest.mark.parametrize("stop", [1, 4, 5, 7])
def test_a_run_is_stopped_between_evaluations_and_nobody_sees_where(in_long_pieces, stop, tmp_path, monkeypatch):
    """Trained step by step, stopped after some, gone on with: the same bits as at once."""
    monkeypatch.setattr(loop, "PIECE", 0.0)
    told = []
    with pytest.raises(Preempted, match=f"stopped at step {stop} of 8"):
        train(
            once(PIECES, "run=1"),
            tmp_path / "run",
            command="test",
            progress=lambda step, words: told.append(step),
            stopping=lambda: stop in told,
        )
    assert told == list(range(stop + 1))
    if stop == 4:  # a kill there would have lost but the steps since the checkpoint at
        assert {"3", "4"} <= {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    _, params = restore(tmp_path / "run", 1)
    saved = [leaf[1] for leaf in jax.tree.leaves(final_state(tmp_path / "run")["runs"]["params"])]
    one, other = (sorted(np.asarray(leaf).tobytes() for leaf in leaves) for leaves in (jax.tree.leaves(params), saved))
    assert one == other
    train(once(PIECES, "run=1"), tmp_path / "run", command="test", resume=True)
    for name in ("metrics.jsonl", "gradients.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (in_long_pieces / name).read_bytes()
    whole = final_state(in_long_pieces)["runs"]
    assert (whole["diverged_at"] == [-1, -1, 2, 2]).all() and "recent" not in whole
    jax.tree.map(np.testing.assert_array_equal, final_state(tmp_path / "run")["runs"], whole)


def test_a_finished_run_goes_on_beyond_its_end_as_if_it_had_been_asked_for_more_at_once(whole, tmp_path):
    longer = once(SMALL._replace(steps=12), "run=1")
    train(longer, tmp_path / "at once", command="test")
    shutil.copytree(whole[0], tmp_path / "beyond")
    result = train(longer, tmp_path / "beyond", command="more", resume=True)
    assert [run["steps"] for run in result["runs"]] == [12] * 4
    for name in ("metrics.jsonl", "gradients.jsonl"):
        there, wanted = (lines(tmp_path / place / name) for place in ("beyond", "at once"))
        assert [line for line in there if name[0] == "m" or line["step"] != 6] == wanted  # it was probed at its end
    states = [final_state(tmp_path / place)["runs"] for place in ("beyond", "at once")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    told = json.loads((tmp_path / "beyond" / "config.json").read_text())
    assert (told["command"], told["config"]["steps"]) == ("more", 12)
    assert [(before["command"], before["config"]["steps"]) for before in told["earlier"]] == [("test", 6)]
    assert train(longer, tmp_path / "beyond", command="test", resume=True) == result  # and is finished now


@pytest.mark.parametrize(
    ("before", "longer"),
    [
        ({}, True),
        ({"steps": 12}, False),
        ({"steps": 14}, False),
        ({"steps": 5}, False),  # its last evaluation is none of the longer run's
        ({"steps": 0}, False),
        ({"steps": "6"}, False),
        ({"eval_every": 0}, False),
        ({"batch_size": 5}, False),
        ({"mine": 1}, False),
    ],
)
def test_a_run_is_made_longer_and_changed_in_nothing_else(before, longer, tmp_path):
    """Of its own, or of each program of a grid."""
    for number, over in enumerate((lambda config: config, lambda config: {"00": config, "01": config})):
        directory = tmp_path / str(number)
        create(directory, {"kind": "k", "config": over(SMALL._asdict() | before)}, resume=False)
        (directory / "result.json").write_text("{}")
        wanted = {"kind": "k", "config": over(SMALL._asdict() | {"steps": 12})}
        if before == {"steps": 12} or longer:
            create(directory, wanted, resume=True)
        else:
            words = "ends at step 5, between two evaluations" if before == {"steps": 5} else "was made with"
            with pytest.raises(UserError, match=words):
                create(directory, wanted, resume=True)
        assert (directory / "result.json").exists() == (not longer)


def test_a_piece_has_the_steps_of_its_seconds_and_at_most_twice_those_before(monkeypatch):
    class Program:
        """Of which a step takes so many seconds."""

        def __init__(self, seconds):
            self.seconds = seconds

        def train(self, state, steps, data):
            now[0] += self.seconds * int(steps)
            return state

    now, state = [0.0], once(SMALL, "run=1").compiled.init(0, 0.1, True)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def pieces(seconds, count):
        most, found = 1, []
        for _ in range(count):
            found.append(most)
            _, most = loop._piece(Program(seconds), state, (), most, most)
        return found

    assert pieces(0.375, 7) == [1, 2, 4, 8, 13, 13, 13]
    assert pieces(60.0, 3) == [1, 1, 1]
    assert loop._piece(Program(0.375), state, (), 2, 13)[1] == 13  # the rest before an evaluation, 2 steps of 13

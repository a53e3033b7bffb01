"""kill -9 at random moments, some in the middle of a checkpoint: resumed, every bit is that of the unbroken run."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small

KILLS, IN_A_SAVE, SEED = 20, 8, 7
LONGER = small.RUN._replace(
    task="parity(length=2)",  # at 0.1 a run is solved on the way and stops
    learning_rates=(1e-2, 0.1, 1e38),
    steps=96,
    batch_size=32,
    eval_every=4,
    eval_size=64,
    probe_every=12,
    checkpoint_every=8,
)

CHILD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
import conftest, small, test_kill
from seqjax.training.checkpoint import Checkpoints
save, nth_save, blows = Checkpoints.save, {nth_save}, {blows}
saves, calls, inside = 0, 0, False

def counted(self, step, state):
    global saves, calls, inside
    saves, calls, inside = saves + 1, 0, True
    save(self, step, state)
    if saves == nth_save:  # it had fewer calls than when they were counted
        os.kill(os.getpid(), signal.SIGKILL)
    inside = False
    print("save", calls, flush=True)

def watch(event, arguments):  # every file that Python opens, renames, removes or makes is a moment to die in
    global calls
    if inside and event.split(".")[0] in ("open", "os", "shutil", "pathlib"):
        calls += 1
        if (saves, calls) == (nth_save, blows):
            os.kill(os.getpid(), signal.SIGKILL)

Checkpoints.save = counted
sys.addaudithook(watch)
small.trained(Path({directory!r}), test_kill.LONGER, progress=lambda step, words: print("at", step, flush=True))
"""


def child(directory, nth_save=0, blows=0):
    here = Path(small.__file__).parent
    names = {"paths": [str(here.parent), str(here)], "directory": str(directory), "nth_save": nth_save, "blows": blows}
    return subprocess.Popen([sys.executable, "-c", CHILD.format(**names)], stdout=subprocess.PIPE, text=True)


def moments(seed, seconds, calls):
    """20 moments: (seconds behind the first step) or (which save, which of its calls).

    calls: of each save.
    """
    random = np.random.default_rng(seed)
    times = [("time", float(random.uniform(0, seconds)), 0) for _ in range(KILLS - IN_A_SAVE)]
    saves = [int(random.integers(len(calls))) for _ in range(IN_A_SAVE)]
    return times + [("save", save + 1, int(random.integers(calls[save])) + 1) for save in saves]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The unbroken run: its bits, the seconds from its first chunk to its end, the calls of each save."""
    folder = tmp_path_factory.mktemp("whole")
    result = small.trained(folder / "run", LONGER)
    assert {run["status"] for run in result["runs"]} > {"diverged"}
    assert len({run["steps"] for run in result["runs"]}) > 2, "runs end at steps of their own"
    with child(folder / "measured") as measured:
        lines = [(time.monotonic(), line.split()) for line in measured.stdout]
    bits = small.bits(folder / "run")
    assert small.bits(folder / "measured") == bits
    calls = [int(words[1]) for _, words in lines if words[0] == "save"]
    assert len(calls) > 9 and min(calls) > 20, "the audit hook sees every save"
    return bits, lines[-1][0] - next(at for at, words in lines if words == ["at", "4"]), calls


@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_killed_and_resumed_every_bit_is_there(number, whole, tmp_path, record_property):
    bits, seconds, calls = whole
    how, first, second = moments(SEED, seconds, calls)[number]
    directory = tmp_path / "run"
    with child(directory, *((first, second) if how == "save" else ())) as running:
        if how == "time":
            while running.stdout.readline().split() != ["at", "4"]:
                assert running.poll() is None
            time.sleep(first)
            running.send_signal(signal.SIGKILL)
        running.stdout.read()
        killed = running.wait() == -signal.SIGKILL
    assert killed or (how == "time" and running.returncode == 0)
    torn = bool(list((directory / "checkpoints").glob("*tmp*")))
    metrics = directory / "metrics.jsonl"
    small.trained(directory, LONGER, resume=True)
    assert small.bits(directory) == bits, (how, first, second)
    places = [(line["step"], line["run"]) for line in map(json.loads, metrics.read_text().splitlines())]
    assert len(places) == len(set(places))
    record_property("kills -9 survived", int(killed))
    record_property("kills -9 within a save", int(killed and how == "save"))
    record_property("kills -9 that left a torn checkpoint", int(torn))
    record_property("kills -9 that came after the end", int(not killed))


def test_the_moments_are_the_same_every_time():
    assert moments(SEED, 5, [50, 60]) == moments(SEED, 5, [50, 60]) and len(moments(SEED, 5, [50, 60])) == KILLS

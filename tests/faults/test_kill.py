"""kill -9 at random moments, some in the middle of a checkpoint: resumed, every bit is that of the unbroken run."""

import json
import os
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
    steps=160,
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
save, blows = Checkpoints.save, {blows}
saves, calls, inside = 0, 0, False

def counted(self, step, state):
    global saves, inside
    saves += 1
    inside = saves == {nth_save}
    save(self, step, state)
    inside = False
    print("save", calls, flush=True)

def watch(event, arguments):  # every file that Python opens, renames, removes or makes is a moment to die in
    global calls
    if inside and event.split(".")[0] in ("open", "os", "shutil", "pathlib"):
        calls += 1
        if calls == blows:
            os.kill(os.getpid(), signal.SIGKILL)

if {nth_save}:
    Checkpoints.save = counted
    sys.addaudithook(watch)
small.trained(Path({directory!r}), test_kill.LONGER, progress=lambda step, words: print("at", step, flush=True))
"""


def child(directory, nth_save=0, blows=0):
    here = Path(small.__file__).parent
    names = {"paths": [str(here.parent), str(here)], "directory": str(directory), "nth_save": nth_save, "blows": blows}
    return subprocess.Popen([sys.executable, "-c", CHILD.format(**names)], stdout=subprocess.PIPE, text=True)


def moments(seed, seconds, calls):
    """20 moments: (seconds behind the first step) or (which save, which of its calls)."""
    random = np.random.default_rng(seed)
    times = [("time", float(random.uniform(0, seconds)), 0) for _ in range(KILLS - IN_A_SAVE)]
    return times + [("save", int(random.integers(1, 12)), int(random.integers(1, calls + 1))) for _ in range(IN_A_SAVE)]


@pytest.mark.long
def test_twenty_kills(tmp_path, record_property):
    whole = tmp_path / "whole"
    result = small.trained(whole, LONGER)
    bits = small.bits(whole)
    statuses = {run["status"] for run in result["runs"]}
    assert "diverged" in statuses and len({run["steps"] for run in result["runs"]}) > 2, result
    with child(tmp_path / "measured", nth_save=3) as measured:
        lines = [(time.monotonic(), line.split()) for line in measured.stdout]
    assert small.bits(tmp_path / "measured") == bits
    calls = max(int(words[1]) for _, words in lines if words[0] == "save")
    assert calls > 20, "the audit hook sees a save"
    begin = next(at for at, words in lines if words == ["at", "4"])
    killed, finished, torn, reached = 0, 0, 0, []
    for number, (how, first, second) in enumerate(moments(SEED, lines[-1][0] - begin, calls)):
        directory = tmp_path / str(number)
        with child(directory, *((first, second) if how == "save" else ())) as running:
            if how == "time":
                while running.stdout.readline().split() != ["at", "4"]:
                    assert running.poll() is None
                time.sleep(first)
                running.send_signal(signal.SIGKILL)
            running.stdout.read()
            status = running.wait()
        killed += status == -signal.SIGKILL
        finished += status == 0
        torn += bool(list((directory / "checkpoints").glob("*tmp*")))
        metrics = directory / "metrics.jsonl"
        reached.append(max([json.loads(line)["step"] for line in metrics.read_text().splitlines() if line[-1:] == "}"]))
        small.trained(directory, LONGER, resume=True)
        assert small.bits(directory) == bits, (number, how, first, second)
        places = [(line["step"], line["run"]) for line in map(json.loads, metrics.read_text().splitlines())]
        assert len(places) == len(set(places))
    assert killed + finished == KILLS and killed >= KILLS - 2 and torn >= 2, (killed, finished, torn)
    record_property("kills -9 survived", killed)
    record_property("of them in the middle of a save", IN_A_SAVE)
    record_property("of them leaving a torn checkpoint", torn)
    record_property("steps at which they fell", ", ".join(map(str, sorted(reached))))


def test_the_moments_are_the_same_every_time():
    assert moments(SEED, 5, 50) == moments(SEED, 5, 50) and len(moments(SEED, 5, 50)) == KILLS
    assert os.name == "posix"

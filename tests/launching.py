"""Starts a tiny training as one or several processes with so many simulated devices each."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from seqjax.training.checkpoint import Checkpoints

RUNS = {"learning_rates": (1e-2, 3e-2), "seeds": 4}  # eight runs: two and more on each of up to four devices
SCRIPT = """
import os, sys
from pathlib import Path
from seqjax.training import Config, prepare, processes, train
from experiments.progress import progress_bar
mesh, directory, stop, timeout, *where = sys.argv[1:]
config = Config(
    "rnn(hidden=3)", "embedded_reber()", (1e-2, 3e-2), 4, steps=int(sys.stdin.readline()), batch_size=6, eval_every=2,
    eval_size=7, probe_every=4, probe_size=3, checkpoint_every=4, stop_when_solved=False,
)
if where:
    processes.join(where[0], int(where[1]), int(where[2]), int(timeout))
def progress(step, words):
    print("at", step, flush=True)
    if step == int(stop):
        os._exit(0)
try:
    train(prepare(config, mesh), Path(directory), command="test", resume=True, progress=progress)
except Exception as error:
    if not processes.several():
        raise
    processes.leave(error)
"""


def free_port():
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def start(directory, count=1, devices=1, mesh="auto", stop=-1, steps=6, timeout=300):
    """The processes, started; each prints the steps it reaches, and ends by itself at `stop`."""
    root, where, found = Path(__file__).parents[1], f"127.0.0.1:{free_port()}", []
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    for number in range(count):
        place = [where, str(count), str(number)] if count > 1 else []
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, mesh, str(directory), str(stop), str(timeout), *place],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        child.stdin.write(f"{steps}\n")
        child.stdin.flush()
        found.append(child)
    return found


def train_with(directory, count=1, devices=1, mesh="map", stop=-1):
    """Train in so many processes, each with so many devices, up to step `stop` or to the end."""
    children = start(directory, count, devices, mesh, stop)
    errors = [child.communicate(timeout=600)[1] for child in children]
    codes = [child.returncode for child in children]
    assert stop >= 0 or not any(codes), "\n".join(f"process {n}: {codes[n]}\n{text}" for n, text in enumerate(errors))
    return directory


def told(directory):
    """What the run directory says, and the last state of every run; equal where two trainings were."""
    checkpoints = Checkpoints(directory / "checkpoints")
    step, state = checkpoints.latest()
    checkpoints.close()
    texts = [(directory / f"{name}.jsonl").read_text() for name in ("metrics", "gradients")]
    files = [[json.loads(line) for line in text.splitlines()] for text in texts]
    runs = json.loads((directory / "result.json").read_text())["runs"]
    return {"step": step, "files": files, "runs": runs, "state": jax.tree.map(np.asarray, state["runs"])}


def assert_equal(one, other):
    """To the bit."""
    assert (one["step"], one["files"], one["runs"]) == (other["step"], other["files"], other["runs"])
    jax.tree.map(np.testing.assert_array_equal, one["state"], other["state"])


def assert_close(one, other):
    """The losses and parameters of two trainings whose sums were taken in other orders: six updates to 1e-5."""
    for ours, theirs in zip(one["files"][0], other["files"][0], strict=True):
        assert ours.keys() == theirs.keys()
        np.testing.assert_allclose([*ours.values()], [*theirs.values()], rtol=1e-4, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        one["state"]["params"],
        other["state"]["params"],
    )

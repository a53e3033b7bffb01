"""The same command gives the same bits: two processes on a CPU; and what --deterministic asks of a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import small

from experiments import backend
from experiments import train as train_script

ROOT = Path(small.__file__).parents[2]
MAIN = ["--lengths=10,20", "--seeds=2", "--steps=60", "--eval_every=20", "--eval_size=64", "--probe_every=20"]
MAIN += ["--cells=rnn(hidden=8);lstm(hidden=8)", "--checkpoint_every=40"]


@pytest.mark.slow
def test_the_main_job_twice(tmp_path, record_property):
    """experiments.benchmark as `make benchmark` calls it, at a smaller size, XLA's own flags, no cache shared."""
    for name in ("one", "other"):
        own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / f"cache-{name}"), "XLA_FLAGS": ""}
        command = [sys.executable, "-m", "experiments.benchmark", *MAIN, f"--workdir={tmp_path / name}"]
        done = subprocess.run(command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    programs = sorted(path.parent.name for path in (tmp_path / "one").glob("*/config.json"))
    assert len(programs) == 4
    for program in programs:
        assert small.bits(tmp_path / "one" / program) == small.bits(tmp_path / "other" / program), program
    record_property("programs run twice, equal bit for bit", len(programs))


def test_the_flag_is_recorded_and_asks_for_each_thing_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setattr("experiments.preemption.show_report", lambda directory: None)
    flags = ["--cell=rnn(hidden=2)", "--task=parity(length=2)", "--steps=0", "--deterministic"]
    assert train_script.main([*flags, f"--workdir={tmp_path / 'run'}"]) == 0
    recorded = json.loads((tmp_path / "run/config.json").read_text())["environment"]["xla_flags"]
    assert all(flag in recorded for flag in backend.DETERMINISTIC)
    assert recorded.startswith("--xla_backend_optimization_level=0 ")
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=0", "its caller keeps its own"
    monkeypatch.setenv("XLA_FLAGS", recorded)
    backend.xla_flags(backend.DETERMINISTIC)
    assert os.environ["XLA_FLAGS"] == recorded


@pytest.mark.slow
def test_this_jax_knows_the_flags():
    code = "import jax; print(jax.numpy.zeros(1).sum())"
    known = os.environ | {"XLA_FLAGS": " ".join(backend.DETERMINISTIC)}
    assert subprocess.run([sys.executable, "-c", code], env=known, capture_output=True).returncode == 0, jax.__version__
    unknown = os.environ | {"XLA_FLAGS": "--xla_gpu_no_such_flag=true"}
    assert subprocess.run([sys.executable, "-c", code], env=unknown, capture_output=True).returncode != 0

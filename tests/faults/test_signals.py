"""SIGTERM and SIGINT: a checkpoint, the report so far, the status of preemption; a second one stops at once."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small

from experiments import ablation, benchmark, grid, reproduce, rows
from experiments import train as train_script
from seqjax.training.signals import EXIT_STATUS, Preempted, heeded

TINY = ["--steps=6", "--eval_every=2", "--eval_size=8", "--batch_size=4", "--probe_every=6", "--checkpoint_every=6"]
TINY += ["--seeds=1", "--learning_rates=1e-2", "--mesh=run=1,map"]


def strike(number):
    os.kill(os.getpid(), number)
    time.sleep(0.05)


@pytest.fixture
def no_report(monkeypatch):
    """Tables alone; figures take seconds."""
    monkeypatch.setattr("experiments.report.write_report", lambda directory: directory / "report.html")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_train_is_stopped_and_told_how_to_go_on(number, tmp_path, monkeypatch, capsys, no_report):
    workdir = tmp_path / "a run"
    flags = [*TINY, "--cell=lstm(hidden=4)", "--task=parity(length=6, min_length=2)", "--first_seed=1"]
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with monkeypatch.context() as patch:
        told = small.acting(train_script, patch, 2, lambda: strike(number))
        assert train_script.main([*flags, f"--workdir={workdir}"]) == EXIT_STATUS == 75
    assert max(told) == 2 and [path.name for path in (workdir / "checkpoints").glob("[0-9]")] == ["2"]
    out, err = capsys.readouterr()
    assert "report:" in out and "unfinished" in out
    assert f"{number.name}: a checkpoint within seconds" in err
    command = re.search(r"preempted: stopped at step 2 of 6, with a checkpoint; go on with: (.*)\n", err).group(1)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "experiments.train"] and words[-2:] == [f"--workdir={workdir}", "--resume"]
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert train_script.main(words[3:]) == 0
    if small.THOROUGH:
        assert train_script.main([*flags, f"--workdir={tmp_path / 'whole'}"]) == 0
        assert small.bits(workdir) == small.bits(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script, flags",
    [
        (benchmark, ["--cells=rnn(hidden=3);lstm(hidden=4)"]),
        (ablation, ["--cell=lstm(hidden=4)", "--gradients=h=0", "--changes=forget_bias=2.0"]),
    ],
)
def test_a_grid_is_stopped_and_goes_on(script, flags, tmp_path, monkeypatch, capsys, no_report):
    flags = [*TINY, *flags, "--task=parity(length=6, min_length=2)", f"--workdir={tmp_path / 'run'}"]
    with monkeypatch.context() as patch:
        small.acting(grid, patch, 4, lambda: strike(signal.SIGTERM))
        assert script.main(flags) == EXIT_STATUS
    out, err = capsys.readouterr()
    assert "report:" in out and f"go on with: python -m experiments.{script.__name__.split('.')[-1]} " in err
    assert len(list((tmp_path / "run").glob("*/config.json"))) == 1  # the others are not begun
    assert script.main([*flags, "--resume"]) == 0
    assert "unfinished" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_row_of_a_paper_is_stopped_and_goes_on(tmp_path, monkeypatch, capsys):
    row = rows.choose(rows.registry(), "hochreiter1997", "*")[0][1].name
    flags = ["--paper=hochreiter1997", f"--rows={row}", "--budget=smoke"]
    flags += [f"--workdir={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}"]
    with monkeypatch.context() as patch:
        small.acting(reproduce, patch, 10, lambda: strike(signal.SIGTERM))
        assert reproduce.main(flags) == EXIT_STATUS
    assert f"hochreiter1997/{row} stopped at step 10 of 20" in (err := capsys.readouterr().err)
    assert "go on with: python -m experiments.reproduce --paper=hochreiter1997" in err
    assert not list((tmp_path / "results").rglob("*.json"))  # of a row that is not finished there is no result
    assert reproduce.main(flags) == 0


def test_one_asked_to_stop_before_it_began_leaves_nothing(tmp_path):
    with pytest.raises(Preempted, match="before its first step"):
        small.trained(tmp_path / "run", stopping=lambda: True)
    assert not (tmp_path / "run").exists()


def test_outside_of_the_main_thread_signals_keep_their_meaning():
    import threading

    found = []

    def inside():
        with heeded() as stopping:
            found.append((stopping(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGINT))]


BUSY = """
import jax, jax.numpy as jnp
from seqjax.training.signals import heeded
def forever(x):  # one compiled program that nothing of Python's interrupts
    return jax.lax.while_loop(lambda x: jnp.isfinite(x), lambda x: jnp.sin(x), x)
with heeded():
    busy = jax.jit(forever).lower(jnp.float32(1)).compile()
    print("busy", flush=True)
    jax.block_until_ready(busy(jnp.float32(1)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_stops_at_once_though_a_program_runs(number, record_property):
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    with child:
        assert child.stdout.readline() == "busy\n"
        child.send_signal(number)
        child.send_signal(number)  # at once, as `timeout` does: still the first
        assert "a second signal stops at once" in child.stderr.readline()
        time.sleep(0.4)
        assert child.poll() is None
        child.send_signal(number)
        began = time.monotonic()
        assert child.wait(timeout=20) == 128 + number
    record_property("seconds to the end after a second signal", round(time.monotonic() - began, 2))

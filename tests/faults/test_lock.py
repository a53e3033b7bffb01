"""Two runs on one run directory: the second is refused while the first lives, and only as long."""

import os
import signal
import subprocess
import sys

import pytest
import small

from experiments import benchmark, report
from experiments import train as train_script
from seqjax.training.lock import hold
from seqjax.types import UserError

HOLDER = """
import sys
from pathlib import Path
from seqjax.training.lock import hold
with hold(Path(sys.argv[1])):
    Path(sys.argv[1], "config.json").write_text("{}")
    print("held", flush=True)
    sys.stdin.read()
"""

BARE = """
import fcntl, os, sys
file = open(os.path.join(sys.argv[1], "lock"), "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), "here", file=file, flush=True)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_second_is_refused_and_told_who_is_first(tmp_path, capsys):
    for make, flags in ((train_script, ["--cell=rnn(hidden=2)"]), (benchmark, ["--cells=rnn(hidden=2)"])):
        with hold(tmp_path / "run"):
            for resume in ([], ["--resume"]):
                flags = [*flags, "--task=parity(length=2)", "--steps=2", f"--workdir={tmp_path / 'run'}"]
                assert make.main([*flags, *resume]) == 2
                err = capsys.readouterr().err
                assert f"is in use by process {os.getpid()}; wait for its end, or name another" in err
                assert err.splitlines()[-1].startswith("error: ") and err.count("\n") == 1 + len(resume)
    assert list(tmp_path.iterdir()) == [tmp_path / "run"] and not list((tmp_path / "run").iterdir())


@pytest.mark.slow
def test_a_report_is_made_of_a_run_that_is_going_on(tmp_path, capsys):
    small.trained(tmp_path / "run", small.RUN._replace(steps=2))
    with hold(tmp_path / "run"):
        assert report.main([str(tmp_path / "run")]) == 0
    assert "report:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "holder, how",
    [
        (BARE, signal.SIGKILL),
        pytest.param(HOLDER, signal.SIGKILL, marks=pytest.mark.slow),
        pytest.param(HOLDER, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_the_lock_dies_with_its_process(tmp_path, holder, how, record_property):
    child = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"in use by process {child.pid}( on here)?;"), hold(tmp_path):
            pass
        child.send_signal(how)
        assert child.wait() == -how
        child.stdin.close()
    with hold(tmp_path):
        assert (tmp_path / "lock").read_text().split()[0] == str(os.getpid())
    record_property("second runs refused", 1)


def test_an_error_leaves_no_lock(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no run's"):
        small.trained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

"""No room left: one line with the reason, what was written is whole, and with room again the same bits come out."""

import contextlib
import json
import re
import resource
import shutil
import subprocess
import sys

import jax
import pytest
import small

from experiments import train as train_script
from experiments.room import lacking

FLAGS = ["--cell=lstm(hidden=4)", "--task=parity(length=6, min_length=2)", "--learning_rates=1e-2,1e38", "--seeds=2"]
FLAGS += ["--steps=8", "--eval_every=2", "--eval_size=8", "--batch_size=4", "--probe_every=100", "--probe_size=3"]
FLAGS += ["--checkpoint_every=2", "--mesh=run=1,map"]


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    monkeypatch.setattr("experiments.preemption.show_report", lambda directory: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.preemption.show_report", lambda directory: None)
        assert train_script.main([*FLAGS, f"--workdir={directory}"]) == 0
    return directory, small.bits(directory)


@contextlib.contextmanager
def file_size_restored():
    """No file of this process can grow past the limit set inside; what a quota is to a file.

    Compiled programs are not kept meanwhile: half a file of one would be there for all tests.
    """
    before, kept = resource.getrlimit(resource.RLIMIT_FSIZE), jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", kept)


def stops_and_goes_on(limited, fill, whole, workdir, monkeypatch, capsys):
    """Fill at a step; the error in one line; whole lines so far; after that, resumed, the bits of the whole."""
    with monkeypatch.context() as patch, limited as limit:
        small.acting(train_script, patch, fill[0], lambda: limit(fill[1]))
        assert train_script.main([*FLAGS, f"--workdir={workdir}"]) == 2
    err = capsys.readouterr().err
    last = re.split(r"[\r\n]", err.strip())[-1]
    assert re.match(r"error: (a file as large as is allowed|no space left on the device)", last), err
    assert "Traceback" not in err and "once there is room, the same --workdir with --resume goes on" in last
    written = (workdir / "metrics.jsonl").read_text().splitlines()
    lines = (whole[0] / "metrics.jsonl").read_text().splitlines()
    assert all(one == other for one, other in zip(written[:-1], lines)) and lines[len(written) - 1].startswith(
        written[-1]
    )
    assert json.loads((workdir / "config.json").read_text()) and not list(workdir.glob("*.partial"))
    assert train_script.main([*FLAGS, f"--workdir={workdir}", "--resume"]) == 0
    assert small.bits(workdir) == whole[1]


# The largest file of a checkpoint has 4.6 kB; at step 4 gradients.jsonl 2 kB, metrics.jsonl and an event file 0.5 kB.
LIMITS = [(4, 3500, "a checkpoint"), (2, 330, "the records"), (2, 0, "all"), (6, 1200, "the last records")]


@pytest.mark.slow
@pytest.mark.parametrize("at, size, what", LIMITS)
def test_a_limit_on_the_size_of_files(at, size, what, whole, tmp_path, monkeypatch, capsys, record_property):
    """RLIMIT_FSIZE, which needs no rights: EFBIG in the place of ENOSPC."""
    stops_and_goes_on(file_size_restored(), (at, size), whole, tmp_path / "run", monkeypatch, capsys)
    record_property("full disks survived", 1)


def test_where_not_even_the_configuration_can_be_written_nothing_is(tmp_path, capsys):
    with file_size_restored() as limit:
        limit(100)
        status = train_script.main([*FLAGS, f"--workdir={tmp_path / 'run'}"])
    err = capsys.readouterr().err
    assert status == 2 and err.startswith("error: ") and "File too large" in err and err.count("\n") == 1
    assert not list((tmp_path / "run").iterdir())


def test_an_error_of_another_kind_is_not_taken_for_one():
    assert lacking(OSError(2, "No such file or directory")) is None and lacking(ValueError("x")) is None
    assert "no space left" in lacking(ValueError("RESOURCE_EXHAUSTED: ... [os_error_code='28']"))
    nested = ValueError("a save failed")
    nested.__cause__ = OSError(28, "No space left on device", "metrics.jsonl")
    assert lacking(nested) == "no space left on the device: metrics.jsonl"


TMPFS = """
import gc, os, subprocess, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {faults!r}]
import conftest, pytest, small, test_disk_full
place = Path({place!r})
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=True)

import contextlib
@contextlib.contextmanager
def filled():
    def fill(pages):
        gc.collect()  # what a save that failed still holds open takes room, until it is let go
        room = os.statvfs(place)
        (place / "filler").write_bytes(bytes(room.f_bavail * room.f_bsize - pages * 4096))
    try:
        yield fill
    finally:
        (place / "filler").unlink(missing_ok=True)

import io
class Captured:
    def readouterr(self):
        found, self.err = self.err.getvalue(), io.StringIO()
        sys.stderr = self.err
        return type("", (), dict(err=found))

whole = (Path({whole!r}), small.bits(Path({whole!r})))
with pytest.MonkeyPatch.context() as patch:
    patch.setattr("experiments.preemption.show_report", lambda directory: None)
    told = Captured()
    told.err = sys.stderr = io.StringIO()
    for number, pages in enumerate({pages}):
        try:
            test_disk_full.stops_and_goes_on(filled(), (4, pages), whole, place / str(number), patch, told)
        except BaseException:
            sys.stderr = sys.__stderr__
            raise
        print("survived", pages, flush=True)
"""


@pytest.mark.slow
def test_a_file_system_that_is_full(whole, tmp_path, record_property):
    """A tmpfs of 8 MB in a mount namespace of its own, filled but for so many pages of 4 kB."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace can be had here (unshare -rm)")
    faults = str(small.__file__).rsplit("/", 1)[0]
    pages = [0, 1, 3, 5, 7, 9, 11, 13]  # a checkpoint needs 16 to 18, as the number of its files differs
    names = {"tests": faults.rsplit("/", 1)[0], "faults": faults, "place": str(tmp_path), "whole": str(whole[0])}
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", TMPFS.format(pages=pages, **names)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split().count("survived") == len(pages)
    record_property("full disks survived", len(pages))

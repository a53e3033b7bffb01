"""Damaged checkpoints: seen, named, kept; the run goes on from the one before, to the same bits."""

import re
import shutil

import numpy as np
import pytest
import small

from seqjax.training.checkpoint import Checkpoints
from seqjax.training.checksums import damage
from seqjax.training.prediction import restore
from seqjax.types import UserError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    small.trained(directory)
    return directory, small.bits(directory)


@pytest.fixture
def stopped(whole, tmp_path):
    """A copy of it as a kill just behind its last checkpoint, of step 8, leaves it; the one before is of step 6."""
    shutil.copytree(whole[0], tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    return tmp_path / "run"


def files_of(directory, step):
    return sorted(path for path in (directory / f"checkpoints/{step}").rglob("*") if path.is_file())


def truncate(path, _):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path, _):
    path.write_bytes(b"")


def flip(path, random):
    """One bit, anywhere."""
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)


def remove(path, _):
    path.unlink()


HARMS = {"truncated": truncate, "emptied": empty, "one bit flipped": flip, "removed": remove}


LONG = [pytest.param(harm, marks=pytest.mark.slow) for harm in ("truncated", "emptied", "removed")]


@pytest.mark.parametrize("harm", ["one bit flipped", *LONG])
def test_the_newest_is_named_and_kept_and_the_one_before_is_taken(whole, stopped, harm, capsys):
    largest = max(files_of(stopped, 8), key=lambda path: path.stat().st_size)
    HARMS[harm](largest, np.random.default_rng(0))
    left = [path.read_bytes() for path in files_of(stopped, 8)]
    small.trained(stopped, resume=True)
    err = capsys.readouterr().err
    assert re.search(r"checkpoint 8 is damaged: 8/.* (differs from its checksum|is missing); kept as ", err)
    assert "going on from step 6" in err
    assert [path.read_bytes() for path in files_of(stopped, "damaged/8")] == left
    assert small.bits(stopped) == whole[1]


def test_any_harm_to_any_file_is_seen(stopped, record_property):
    """Every file of a checkpoint and the list of checksums itself; many bits of each, where there is time."""
    folder, random, count = stopped / "checkpoints/8", np.random.default_rng(1), 0
    assert damage(folder) is None
    for path in [*files_of(stopped, 8), folder.with_name("8.sha256")]:
        content = path.read_bytes()
        for harm in [truncate, empty] + [flip] * (100 if small.THOROUGH else 5) + [remove] * (path.suffix != ".sha256"):
            if content or harm is remove:
                harm(path, random)
                assert damage(folder), (path, harm)
                path.write_bytes(content)
                count += 1
    assert damage(folder) is None
    record_property("damages to a checkpoint, all seen", count)


def test_where_all_are_damaged_nothing_is_touched(stopped):
    for step in (6, 8):
        empty(files_of(stopped, step)[0], None)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"}
    with pytest.raises(UserError, match=r"no checkpoint in .* is sound: 8 \(8/.*; 6 \(6/.*move that folder away") as e:
        small.trained(stopped, resume=True)
    assert "\n" not in str(e.value)
    assert before == {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.slow
def test_who_reads_changes_nothing(stopped, capsys):
    """Neither a save that another process is in the middle of, nor what is damaged."""
    (amid := stopped / "checkpoints/9.orbax-checkpoint-tmp").mkdir()
    (amid / "half").write_text("")
    truncate(files_of(stopped, 8)[0], None)
    before = sorted(path for path in (stopped / "checkpoints").rglob("*"))
    restore(stopped)
    assert sorted(path for path in (stopped / "checkpoints").rglob("*")) == before
    assert re.search("checkpoint 8 is damaged: .*; that of step 6 is read", capsys.readouterr().err)


def test_damaged_twice_both_are_kept(whole, stopped, capsys):
    for _ in range(2):
        empty(files_of(stopped, 8)[0], None)
        small.trained(stopped, resume=True)
        (stopped / "result.json").unlink()
    assert sorted(path.name for path in (stopped / "checkpoints/damaged").glob("*[!6]")) == ["8", "8-2"]
    assert capsys.readouterr().err.count("is damaged") == 2


def test_a_directory_of_an_older_version_has_no_checksums_and_goes_on(whole, stopped):
    for path in (stopped / "checkpoints").glob("*.sha256"):
        path.unlink()
    small.trained(stopped, resume=True)
    assert small.bits(stopped) == whole[1]


def test_the_form_of_a_checkpoint_stays_so_that_older_ones_are_read(stopped):
    """These fields and no other: orbax restores nothing that the program looks for and the checkpoint lacks."""
    checkpoints = Checkpoints(stopped / "checkpoints")
    _, state = checkpoints.latest()
    checkpoints.close()
    fields = "params opt_state key learning_rate step solved_at diverged_at enabled"
    assert set(state) == {"runs", "seconds"} and sorted(state["runs"]) == sorted(fields.split())


@pytest.mark.slow
def test_without_checksums_what_orbax_cannot_read_is_named_too(whole, stopped, capsys):
    for path in (stopped / "checkpoints").glob("*.sha256"):
        path.unlink()
    for path in files_of(stopped, 8):
        truncate(path, None)
    small.trained(stopped, resume=True)
    assert "checkpoint 8 is damaged: orbax: " in capsys.readouterr().err
    assert small.bits(stopped) == whole[1]


def test_sha256sum_reads_the_checksums(stopped):
    """In its own form: two blanks between digest and path, from the folder of the checkpoints."""
    import hashlib

    for line in (stopped / "checkpoints/8.sha256").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((stopped / "checkpoints" / name).read_bytes()).hexdigest() == digest


def test_no_pickle_is_read(stopped, monkeypatch):
    import pickle

    def refuse(*_, **__):
        raise AssertionError("a pickle was read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    checkpoints = Checkpoints(stopped / "checkpoints")
    assert checkpoints.latest()[0] == 8
    checkpoints.close()

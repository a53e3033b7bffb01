"""One process of several dies, or falls silent: the other ends within seconds and says why, and both can go on."""

import signal
import time

import pytest
from launching import assert_equal, start, told, train_with

pytestmark = pytest.mark.slow
TIMEOUT = 10  # seconds of silence, --peer_timeout


@pytest.mark.parametrize("mesh", ["auto", "data=2"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "silent"])
@pytest.mark.parametrize("victim", [0, 1])
def test_the_other_ends_with_the_reason(victim, how, mesh, tmp_path, record_property):
    children = start(tmp_path / "run", 2, mesh=mesh, steps=1_000_000, timeout=TIMEOUT)
    survivor = children[1 - victim]
    try:
        for line in children[victim].stdout:
            if line == "at 8\n":
                break
        began = time.monotonic()
        children[victim].send_signal(how)
        _, errors = survivor.communicate(timeout=10 * TIMEOUT)
        seconds = time.monotonic() - began
    finally:
        for child in children:
            child.kill()
            child.communicate()
    record_property("seconds", round(seconds, 1))
    print(f"process {victim} {how.name}, mesh {mesh}: the other ended after {seconds:.1f} s")
    assert survivor.returncode not in (0, None)
    assert "another one has ended or cannot be reached" in errors or "another task died" in errors, errors
    assert seconds < (5 if how == signal.SIGKILL else TIMEOUT + 10)


def test_what_was_saved_before_goes_on_to_the_same_bits(tmp_path):
    whole = told(train_with(tmp_path / "whole"))
    children = start(tmp_path / "run", 2, mesh="map")
    for line in children[1].stdout:
        if line == "at 4\n":
            children[1].kill()
    for child in children:
        child.communicate(timeout=100)
    assert_equal(whole, told(train_with(tmp_path / "run", 2)))

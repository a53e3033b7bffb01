"""SIGTERM and SIGINT while training: the first asks to stop, the second stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

HEEDED = (signal.SIGTERM, signal.SIGINT)
EXIT_STATUS = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, try again
TOGETHER = 0.2  # seconds; `timeout` and some batch systems send one request as two signals


class Preempted(Exception):
    """A signal asked to stop, and the run has, with a checkpoint; its text says where."""


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Either signal raises KeyboardInterrupt, and processes that are started meanwhile are not deaf to it.

    A shell starts what it runs in the background deaf to SIGINT, and processes inherit that. Outside of the main
    thread, where none can be set, signals keep their meaning.
    """
    numbers = HEEDED if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def heeded(trains: bool = True) -> Iterator[Callable[[], bool]]:
    """Give what tells whether a signal has asked to stop; afterwards signals do what they did before.

    A second signal ends the process at once, with the status 128 + its number, as a shell tells it. It
    is watched for by a thread, as Python's own handlers wait while a compiled program runs, and that
    can be long. Outside of the main thread, where none can be set, signals keep their meaning.

    Args:
        trains: False where nothing is trained, and signals keep their meaning.
    """
    asked: list[float] = []
    if not trains or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def watch() -> None:
        while numbers := os.read(reading, 1):
            number = signal.Signals(numbers[0])
            if number in HEEDED and not asked:
                asked.append(time.monotonic())
                words = "a checkpoint within seconds, then the end; a second signal stops at once"
                tqdm.write(f"{number.name}: {words}", file=sys.stderr)
            elif number in HEEDED and time.monotonic() - asked[0] > TOGETHER:
                os._exit(128 + number)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = {number: signal.signal(number, lambda number, frame: None) for number in HEEDED}
    fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield lambda: bool(asked)
    finally:
        signal.set_wakeup_fd(fd)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        watcher.join()
        os.close(reading)

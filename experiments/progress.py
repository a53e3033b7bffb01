"""How far a script is, drawn on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

from seqjax.training import processes
from seqjax.training.loop import STARTING

EVERY = 60.0  # seconds between two lines in a file


@contextlib.contextmanager
def progress_bar(total: int, unit: str = "step") -> Iterator[Callable[[int, str, str], None]]:
    """Give (step, what is run, how it goes) -> None, which draws a bar on stderr.

    The bar is there from the first call on, so that an error before it has a line of its own. Of several
    processes the first draws it. What was made before a run went on, and while it compiled, tells no pace.
    Where stderr is no terminal but a job's file, it is a line of its own once a minute, and at the end.
    """
    with contextlib.ExitStack() as stack:
        bar: tqdm | None = None
        starting, written, done = False, -EVERY, 0
        drawn = sys.stderr.isatty()
        screen = sys.stderr if drawn else stack.enter_context(open(os.devnull, "w"))

        def show(step: int, what: str, words: str) -> None:
            nonlocal bar, starting, written, done
            if not processes.is_first():
                return
            if bar is None:
                form = {"file": screen, "dynamic_ncols": True, "smoothing": 0.05}
                form |= {} if total else {"bar_format": "{desc} [{elapsed}{postfix}]"}
                bar = stack.enter_context(tqdm(total=total, unit=unit, **form))
            bar.set_description(what, refresh=False)
            bar.set_postfix_str(words, refresh=False)
            if starting:
                bar.n = bar.last_print_n = step
                bar.last_print_t = time.time()
            else:
                bar.update(step - bar.n)
            bar.refresh()
            if not drawn and (time.monotonic() - written >= EVERY or done < step == total):
                print(bar, file=sys.stderr, flush=True)
                written = time.monotonic()
            done = step
            starting = words == STARTING

        yield show

"""The bar that scripts draw: how far they are, and how fast."""

import time

from experiments import progress
from seqjax.training.loop import STARTING


def test_what_was_made_before_a_run_went_on_tells_no_pace(monkeypatch):
    """Steps 0 to 900 are there at once, those from then on take a tenth of a second each."""
    bars = []

    class Kept(progress.tqdm):
        def __init__(self, *args, **others):
            super().__init__(*args, **others)
            bars.append(self)

    monkeypatch.setattr(progress, "tqdm", Kept)
    with progress.progress_bar(1000) as show:
        show(0, "a run", STARTING)
        show(900, "a run", "")
        for step in range(901, 906):
            time.sleep(0.1)
            show(step, "a run", "loss 1")
        (bar,) = bars
        assert bar.n == 905 and 0 < bar.format_dict["rate"] <= 10

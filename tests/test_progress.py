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


def test_a_file_has_a_line_a_minute_and_one_at_the_end(monkeypatch, capsys):
    """A terminal has the bar, drawn over itself."""
    for pause, expected in ((60.0, [0, 3]), (0.0, [0, 1, 2, 3])):
        monkeypatch.setattr(progress, "EVERY", pause)
        with progress.progress_bar(3) as show:
            for step in range(4):
                show(step, "a run", f"loss {step}")
            show(3, "a run", "loss 3") if pause else None
        lines = capsys.readouterr().err.splitlines()
        assert [line.split("|")[2].split()[0] for line in lines] == [f"{step}/3" for step in expected]
        assert all(line.startswith("a run: ") and f"loss {step}" in line for step, line in zip(expected, lines))
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    with progress.progress_bar(3) as show:
        show(1, "a run", "loss 1")
    drawn = capsys.readouterr().err
    assert drawn.startswith("\r") and "1/3" in drawn and drawn.count("\n") == 1

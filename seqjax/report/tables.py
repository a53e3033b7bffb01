"""From the records to the numbers of a table: one row a cell and task, at its best learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seqjax.report.records import Record, Run

NO_MEMORY = 0.9  # a loss above this share of the baseline does not show that anything was remembered


class Spread(NamedTuple):
    """Median, least and greatest of some values."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.text()

    def text(self, mark: str = "", form: str = "") -> str:
        """'median mark [low..high]', the range only where there is one; form as in `format`."""
        median, low, high = (short(value, form) for value in self)
        return f"{median}{mark}" + (f" [{low}..{high}]" if low != high else "")


class Row(NamedTuple):
    """The runs of one cell on one task at one learning rate.

    A Spread is over the seeds that have the value, None where no seed has it. The gradients are
    log10 ‖dL/d carry‖ at the first time step relative to the last, at step 0 and at the last probe.
    """

    record: Record
    learning_rate: float
    seeds: int
    solved: int
    diverged: int
    unfinished: int
    steps_to_solve: Spread | None
    loss: Spread | None
    score: Spread | None
    gradient_start: Spread | None
    gradient_end: Spread | None
    best: bool

    @property
    def no_memory(self) -> bool:
        """Whether the median final loss is not clearly below that of the best guess without memory."""
        baseline = self.record.baseline
        return bool(self.loss and baseline is not None and self.loss.median > NO_MEMORY * baseline)


def table(records: Sequence[Record], every_rate: bool = False) -> list[Row]:
    """One row a record, at its best learning rate; with every_rate one for each that was run.

    Best is where most seeds solved; then the lowest median of steps to solve, then of the final loss, or of the
    loss of the split to select on.
    """
    rows = []
    for record in records:
        best = best_rate(record)
        for rate in rates(record) if every_rate else [best]:
            rows.append(_row(record, rate, rate == best))
    return rows


def rates(record: Record) -> list[float]:
    """The learning rates that were run, in order."""
    return sorted({run.learning_rate for run in record.runs})


def swept(record: Record) -> bool:
    """Whether several learning rates were run, and there is something by which to compare them."""
    return len(rates(record)) > 1 and any(run.loss is not None or run.status == "diverged" for run in record.runs)


def best_rate(record: Record) -> float:
    """The learning rate at which most seeds solved; then the fastest, then that of the lowest loss."""

    def rank(rate: float) -> tuple[float, float, float]:
        runs = at_rate(record, rate)
        solved = [run.solved_at for run in runs if run.status == "solved"]
        found = [run.loss if run.selected_at is None else run.selection_loss for run in runs]
        losses = [math.inf if each is None or not counts(run) else each for each, run in zip(found, runs)]
        return -len(solved), statistics.median(solved or [math.inf]), statistics.median(losses)

    return min(rates(record), key=rank)


def loss_words(records: Iterable[Record]) -> str:
    """What the loss of a run is called: that of its last evaluation, unless another split selected one."""
    return "selected loss" if any(run.selected_at is not None for r in records for run in r.runs) else "final loss"


def counts(run: Run) -> bool:
    """Whether a run's loss and score count: of one that diverged, if another split selected them before it did."""
    return run.status != "diverged" or run.selected_at is not None


def at_rate(record: Record, rate: float) -> list[Run]:
    """The seeds of one learning rate."""
    return [run for run in record.runs if run.learning_rate == rate]


def spread(values: Iterable[float | None]) -> Spread | None:
    """Median, least and greatest of the values that are there; None where none is."""
    there = [value for value in values if value is not None]
    return Spread(statistics.median(there), min(there), max(there)) if there else None


def _row(record: Record, rate: float, best: bool) -> Row:
    runs = at_rate(record, rate)
    status = [run.status for run in runs]
    whole = [run for run in runs if run.status != "diverged"]
    return Row(
        record,
        rate,
        len(runs),
        status.count("solved"),
        status.count("diverged"),
        status.count("unfinished"),
        spread(run.solved_at for run in runs if run.status == "solved"),
        spread(run.loss for run in runs if counts(run)),
        spread(run.score for run in runs if counts(run)),
        spread(run.probes[0].first_to_last for run in runs if run.probes and run.probes[0].step == 0),
        spread(run.probes[-1].first_to_last for run in whole if run.probes and run.probes[-1].step > 0),
        best,
    )


def short(value: float, form: str = "") -> str:
    """Three significant digits, and every digit of a count of steps, unless a form is given."""
    return (
        format(round(value, 1) + 0.0, form)
        if form
        else format(value + 0.0, ".0f" if 100 <= abs(value) < 1e7 else ".3g")
    )

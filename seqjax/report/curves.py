"""Figures of the loss: against the training step, and against the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqjax.report.figures import Figure, by_task, canvas, cell_styles, head, legend_above, line, panels, png
from seqjax.report.records import Record, Run
from seqjax.report.tables import at_rate, best_rate, counts, loss_words, rates, spread, swept

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BASELINE = {"color": "#555555", "linestyle": (0, (5, 3)), "linewidth": 1.2}
OPTIMUM = {"color": "#555555", "linestyle": (0, (1, 2)), "linewidth": 1.2}
SOLVED = {"marker": "o", "markersize": 6.5, "markeredgecolor": "white", "linestyle": "none"}
DIVERGED = {"marker": "X", "markersize": 8, "markeredgecolor": "white", "linestyle": "none"}
SELECTED = {"marker": "D", "markersize": 5.5, "markerfacecolor": "white", "linestyle": "none"}
HEADROOM = 30  # a loss above so many baselines leaves the panel, lest one that diverges flatten the others


def learning_curves(records: Sequence[Record]) -> Figure | None:
    """Loss against training step: a panel a task, a colour a cell, thin a seed and bold the median."""
    trained = [record for record in records if any(_losses(run)[0].size for run in record.runs)]
    if not trained:
        return None
    tasks, styles = by_task(trained), cell_styles(records)
    columns = min(len(tasks), 3)
    with canvas(*_size(len(tasks), columns)) as figure:
        axes = panels(figure, len(tasks), columns, sharey=len({r.baseline for r in trained}) == 1)
        for ax, members in zip(axes, tasks.values()):
            ax.set_yscale("log")
            for record in members:
                _seeds(ax, at_rate(record, best_rate(record)), styles[record.cell])
            ax.set_xlim(left=0)
            ax.set_xlabel("training step (updates)")
        for ax, (task, members) in zip(axes, tasks.items()):  # once all is drawn, as panels may share their limits
            _finish(ax, task, members, "loss")
        handles = [line(cell, linewidth=2.4, **style) for cell, style in styles.items()]
        if any(len(at_rate(record, best_rate(record))) > 1 for record in trained):
            handles += [line("one seed", color="#888888", linewidth=0.8)]
            handles += [line("median over seeds", color="#888888", linewidth=2.4)]
        shown = [run for record in trained for run in at_rate(record, best_rate(record))]
        selected = any(run.selected_at is not None for run in shown)
        handles += _marks(shown) + [line("selected", color="#888888", **SELECTED)] * selected
        legend_above(figure, handles + _bounds(trained))
        return Figure(
            "learning_curves",
            "Learning curves",
            "The loss on fresh or test data against the training step: a panel for each task, a colour for each "
            "cell at its best learning rate, thin for one seed and bold for the median, in which a seed that has "
            "ended keeps its last loss"
            + (", and a diamond is the evaluation that another split selected" if selected else "")
            + ". The dashed line is the loss of the best guess without memory: a curve "
            "that stays on it has learned nothing of what came before, and one that falls below it remembers.",
            png(figure),
        )


def learning_rates(records: Sequence[Record]) -> Figure | None:
    """Final loss against learning rate, where several were run."""
    shown = [record for record in records if swept(record)]
    if not shown:
        return None
    tasks, styles, words = by_task(shown), cell_styles(records), loss_words(shown)
    columns = min(len(tasks), 3)
    with canvas(*_size(len(tasks), columns)) as figure:
        axes = panels(figure, len(tasks), columns, sharey=len({r.baseline for r in shown}) == 1)
        for ax, members in zip(axes, tasks.values()):
            ax.set_xscale("log")
            ax.set_yscale("log")
            between = max(rate for r in members for rate in rates(r)) / min(rate for r in members for rate in rates(r))
            for n, record in enumerate(members):
                aside = between ** (0.012 * (n - (len(members) - 1) / 2))  # so that no bar hides another
                _rates(ax, record, styles[record.cell], aside)
            _plain_ticks(ax.xaxis, sorted({rate for record in members for rate in rates(record)}))
            ax.set_xlabel("learning rate")
        for ax, (task, members) in zip(axes, tasks.items()):  # once all is drawn, as panels may share their limits
            _finish(ax, task, members, loss_words(members))
        handles = [line(cell, linewidth=2, color=style["color"], marker="o") for cell, style in styles.items()]
        handles += [
            mark for mark in _marks([r for record in shown for r in record.runs]) if "diverged" in mark.get_label()
        ]
        legend_above(figure, handles + _bounds(shown))
        return Figure(
            "learning_rates",
            f"{words.capitalize()} against learning rate",
            f"The {words} of every cell at every learning rate that was run, the median over the seeds that have "
            "one with the range as a bar; a cross at the top is a rate at which seeds diverged. "
            "A cell whose lowest point lies at either end of the axis may do better still beyond it.",
            png(figure),
        )


def _seeds(ax: Axes, runs: Sequence[Run], style: dict[str, Any]) -> None:
    colour = style["color"]
    for run in runs:
        steps, losses = _losses(run)
        ax.plot(steps, losses, color=colour, linewidth=0.8, alpha=0.55 if len(runs) > 1 else 1)
        if steps.size == 1:  # of which there is no line
            ax.plot(steps, losses, "o", color=colour, markersize=4)
        if run.status == "solved":
            solved = steps == run.solved_at  # a run may go on after it
            ax.plot(steps[solved], losses[solved], color=colour, zorder=5, **SOLVED)
        if run.selected_at is not None:
            chosen = steps == run.selected_at
            ax.plot(steps[chosen], losses[chosen], color=colour, zorder=5, **SELECTED)
        if run.status == "diverged":
            at_top = {"transform": ax.get_xaxis_transform(), "clip_on": False}
            where = (run.diverged_at or run.steps, 1.0)
            ax.plot(*where, color=colour, zorder=5, **DIVERGED, **at_top)
    steps, middle = _median(runs)
    ax.plot(steps, middle, linewidth=2.4, **style)


def _rates(ax: Axes, record: Record, style: dict[str, Any], aside: float) -> None:
    points = []
    for rate in rates(record):
        runs = at_rate(record, rate)
        if any(run.status == "diverged" for run in runs):
            top = {"transform": ax.get_xaxis_transform(), "clip_on": False}
            ax.plot(rate * aside, 1.0, color=style["color"], zorder=5, **DIVERGED, **top)
        found = spread(run.loss for run in runs if counts(run) and (run.loss or 0) > 0)
        if found:
            points.append((rate * aside, *found))
    if points:
        at, middle, low, high = np.array(points).T
        bars = np.stack([middle - low, high - middle])
        ax.errorbar(at, middle, bars, color=style["color"], linewidth=2, elinewidth=1, capsize=3, marker="o")


def _losses(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Steps and losses [N] where the loss can stand on a logarithmic axis."""
    there = [(e.step, e.loss) for e in run.evaluations if e.loss is not None and e.loss > 0]
    steps, losses = np.array(there, float).reshape(-1, 2).T
    return steps, losses


def _median(runs: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Median over runs at every step; a run that ended keeps its last loss, one that diverged is above all."""
    steps = np.unique([e.step for run in runs for e in run.evaluations])
    rows = []
    for run in runs:
        if not run.evaluations:
            continue
        at = np.searchsorted([e.step for e in run.evaluations], steps, side="right") - 1
        losses = np.array([np.inf if e.loss is None else e.loss for e in run.evaluations])[np.maximum(at, 0)]
        gone = run.status == "diverged" and steps >= (run.diverged_at or run.steps)
        rows.append(np.where((at < 0) | gone, np.inf, losses))
    middle = np.median(rows, 0)
    return steps, np.where(np.isfinite(middle) & (middle > 0), middle, np.nan)


def _finish(ax: Axes, title: str, records: Sequence[Record], what: str) -> None:
    """Title, ticks, and the baseline with its value beside the panel."""
    head(ax, title, size=11)
    if ax.get_subplotspec().is_first_col():
        ax.set_ylabel(f"{what} (log scale)")
    low, high = ax.get_ylim()
    if high < 1.001 * low:  # all losses are equal, and limits without room between them have no scale
        ax.set_ylim(low / 1.5, high * 1.5)
    baseline = records[0].baseline
    if baseline:
        ax.axhline(baseline, zorder=4, **BASELINE)
        ax.text(1.01, baseline, f"{baseline:.3g}", transform=ax.get_yaxis_transform(), va="center", fontsize=9,
                color=BASELINE["color"])  # fmt: skip
        if optimum := records[0].optimum:
            ax.axhline(optimum, zorder=4, **OPTIMUM)
            ax.text(1.01, optimum, f"{optimum:.3g}", transform=ax.get_yaxis_transform(), va="center", fontsize=9,
                    color=OPTIMUM["color"])  # fmt: skip
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, (optimum or baseline) / 1.5), min(max(high, baseline * 1.5), baseline * HEADROOM))
    low, high = ax.get_ylim()
    _plain_ticks(ax.yaxis, range(1, 10) if high / low < 5 else (1, 2, 5) if high / low < 2e3 else (1,))


def _plain_ticks(axis: Any, at: Sequence[float]) -> None:
    """Numbers as people write them: at these multiples of powers of ten, or at just these values."""
    from matplotlib import ticker

    whole = all(isinstance(value, int) for value in at)
    axis.set_major_locator(ticker.LogLocator(subs=at) if whole else ticker.FixedLocator(at))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_minor_locator(ticker.NullLocator())


def _marks(runs: Sequence[Run]) -> list[Any]:
    ends = {run.status for run in runs}
    marks = [line("solved", color="#888888", **SOLVED)] if "solved" in ends else []
    return marks + ([line("diverged", color="#888888", **DIVERGED)] if "diverged" in ends else [])


def _bounds(records: Sequence[Record]) -> list[Any]:
    """Legend entries of the lines that `_finish` draws."""
    bounds = [line("memoryless baseline", **BASELINE)] if any(record.baseline for record in records) else []
    best = any(record.baseline and record.optimum for record in records)
    return bounds + ([line("the best there can be", **OPTIMUM)] if best else [])


def _size(count: int, columns: int) -> tuple[float, float]:
    """Inches: legible at the width of a README whatever the number of panels."""
    return (6.5 if columns == 1 else 9.5), 1.0 + 3.0 * -(-count // columns)

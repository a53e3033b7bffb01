"""Figure of what a cell becomes while it trains: gates, spectral radius, maximal Lyapunov exponent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seqjax.report.figures import PALETTE, Figure, by_task, canvas, head, line, png
from seqjax.report.records import Record
from seqjax.report.tables import at_rate, best_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curves = dict[str, tuple[np.ndarray, np.ndarray]]  # name -> probed steps [N], values [N, seeds]
ROWS = {
    "gates": "gate, mean",
    "spectral_radius": "spectral radius of W_h",
    "exponent": "maximal Lyapunov\nexponent (nats/step)",
}


def through_training(records: Sequence[Record]) -> Figure | None:
    """Rows: gates, spectral radius, exponent; a column a cell and task; the first layer; medians over seeds."""
    found = {id(record): {row: _curves(record, row) for row in ROWS} for record in records}
    shown = [r for members in by_task(records).values() for r in members if _probes(found[id(r)]) > 2]
    rows = [row for row in ROWS if any(found[id(record)][row] for record in shown)]
    if not rows:
        return None
    width = min(4, len(shown))
    chunks = [shown[n : n + width] for n in range(0, len(shown), width)]
    with canvas(max(6.5, 2.6 * width), 1.0 + 1.9 * len(rows) * len(chunks)) as figure:
        grid = figure.subplots(len(rows) * len(chunks), width, squeeze=False, sharey="row")
        for n, axes in enumerate(grid):
            row, chunk = rows[n % len(rows)], chunks[n // len(rows)]
            for ax in axes[len(chunk) :]:
                ax.set_visible(False)
            for ax, record in zip(axes, chunk):
                _draw(ax, row, found[id(record)][row])
                if n % len(rows) == 0:
                    head(ax, record.cell, record.task, size=9)
                if n % len(rows) == len(rows) - 1:
                    ax.set_xlabel("training step (updates)")
            axes[0].set_ylabel(ROWS[row], fontsize=9)
        drawn = png(figure)
    words = (
        "The first layer while it trains, at every probe: the mean of each gate over units, steps and sequences; the "
        "spectral radius of each square block of the recurrent matrix, in the cell's order (1 is the edge at which a "
        "linear network neither forgets nor explodes); and the maximal Lyapunov exponent along the probe batch (below "
        "0 the gradient dies out in -1/λ₁ steps, above 0 it explodes). Lines are medians over the seeds "
        "still in training, bands their range."
    )
    return Figure("training_dynamics", "Gates, spectral radius and Lyapunov exponent through training", words, drawn)


def _curves(record: Record, row: str) -> Curves:
    """The curves of one row: gates by name, blocks of W_h by number, the exponent; forward way of the first layer."""
    points: dict[str, dict[int, list[float]]] = {}
    for run in at_rate(record, best_rate(record)):
        for probe in run.probes:
            for name, values in getattr(probe, row).items():
                layer, *way, last = name.split("/") if row != "exponent" else [*name.split("/"), ""]
                if layer != "layer_0" or way[:1] == ["backward"]:
                    continue
                values = np.atleast_1d(values)
                if row == "gates":
                    values = values[:1]
                for place, value in enumerate(values):
                    label = last.replace("_", " ") if row == "gates" else f"block {place + 1}" * (len(values) > 1)
                    points.setdefault(label, {}).setdefault(probe.step, []).append(value)
    seeds = max((len(values) for steps in points.values() for values in steps.values()), default=0)
    fill = lambda values: [*values, *[np.nan] * (seeds - len(values))]  # noqa: E731
    return {
        label: (np.array(sorted(steps)), np.array([fill(steps[step]) for step in sorted(steps)]))
        for label, steps in points.items()
    }


def _probes(rows: dict[str, Curves]) -> int:
    """How often the record was looked at."""
    return max((len(steps) for curves in rows.values() for steps, _ in curves.values()), default=0)


def _draw(ax: Axes, row: str, curves: Curves) -> None:
    if not curves:
        ax.annotate("none", (0.5, 0.5), xycoords="axes fraction", ha="center", color="#888888")
        ax.set_xticks([])
    for n, (_, (steps, values)) in enumerate(curves.items()):
        there = np.isfinite(values).any(1)
        steps, values, color = steps[there], values[there], PALETTE[n % len(PALETTE)]
        ax.plot(steps, np.nanmedian(values, 1), color=color)
        ax.fill_between(steps, np.nanmin(values, 1), np.nanmax(values, 1), color=color, alpha=0.18, linewidth=0)
    if row == "gates":
        ax.set_ylim(-0.02, 1.02)
    elif curves:
        ax.axhline(row == "spectral_radius", color="#999999", linewidth=0.8, zorder=1)
    if len(curves) > 1:
        handles = [line(label, color=PALETTE[n % len(PALETTE)]) for n, label in enumerate(curves)]
        ax.legend(handles=handles, fontsize=6.5)

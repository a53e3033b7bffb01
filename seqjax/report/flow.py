"""Figures of what experiments.gradient_flow measured: spectra, lags, horizons, gates, noise, truncation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seqjax.report.figures import (
    MARKERS,
    PALETTE,
    Figure,
    by_task,
    canvas,
    cell_styles,
    head,
    legend_above,
    line,
    panels,
    png,
)
from seqjax.report.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

GATES = ("input_gate", "forget_gate", "candidate", "output_gate", "reset_gate", "update_gate")
DEEPEST = -8  # powers of ten below which a sensitivity leaves the panel


def flow_figures(records: Sequence[Record]) -> list[Figure]:
    """A figure for each quantity that the records hold."""
    draws = (_spectrum, _lyapunov, _lag, _sensitivity, _gates, _noise, _truncation, _curse)
    drawn = [draw(records) for draw in draws]
    return [figure for figure in drawn if figure is not None]


def _one_panel_each(
    records: Sequence[Record], quantity: str, draw: Callable[[Axes, dict[str, Any]], None], x: str, y: str, **axes: Any
) -> bytes | None:
    having = [record for record in records if record.flow.get(quantity)]
    if not having:
        return None
    columns = 2 if len(having) == 4 else min(3, len(having))
    with canvas(3.3 * columns + 0.6, 2.9 * -(-len(having) // columns)) as figure:
        for ax, record in zip(panels(figure, len(having), columns, **{"sharey": True} | axes), having):
            draw(ax, record.flow[quantity])
            head(ax, record.cell, record.task, size=9)
            ax.set_xlabel(x)
        figure.supylabel(y, fontsize=10)
        return png(figure)


def _one_panel_a_task(
    records: Sequence[Record],
    quantity: str,
    draw: Callable[[Axes, dict[str, Any], dict[str, Any]], None],
    finish: Callable[[Axes], None],
    x: str,
    y: str,
) -> bytes | None:
    tasks, styles = by_task([record for record in records if record.flow.get(quantity)]), cell_styles(records)
    if not tasks:
        return None
    columns = min(3, len(tasks))
    with canvas(6.5 if columns == 1 else 3.3 * columns + 0.6, 3.4 * -(-len(tasks) // columns)) as figure:
        axes = panels(figure, len(tasks), columns)
        for ax, (task, members) in zip(axes, tasks.items()):
            for record in members:
                draw(ax, record.flow[quantity], styles[record.cell])
            finish(ax)
            head(ax, task, size=9)
            ax.set_xlabel(x)
        for ax in axes[::columns]:
            ax.set_ylabel(y)
        _legend(figure, tasks, styles)
        return png(figure)


def _legend(figure: Canvas, tasks: dict[str, list[Record]], styles: dict[str, dict[str, Any]]) -> None:
    cells = dict.fromkeys(record.cell for members in tasks.values() for record in members)
    legend_above(figure, [line(cell, **styles[cell]) for cell in cells])


def _spectrum(records: Sequence[Record]) -> Figure | None:
    def draw(ax: Axes, found: dict[str, Any]) -> None:
        values = np.array(found["log10_singular_values"], float)
        for n, curve in enumerate(values.T):
            ax.plot(found["lags"], curve, color=PALETTE[0], alpha=1 - 0.7 * n / max(len(values.T) - 1, 1), marker=".")
        ax.set_xscale("log", base=2)
        ax.axhline(0, color="#999999", linewidth=0.8)

    drawn = _one_panel_each(
        records, "spectrum", draw, "lag (steps)", "log₁₀ singular values of ∂s_T/∂s_(T-lag)", sharey=False
    )
    words = (
        "The leading singular values of the product of the Jacobians over the last steps, mean over sequences: how "
        "much the gradient can shrink or grow along each direction. A fan that opens downwards has few directions "
        "left. Each panel has a scale of its own."
    )
    return drawn and Figure("singular_values", "The singular-value fan", words, drawn)


def _lyapunov(records: Sequence[Record]) -> Figure | None:
    def draw(ax: Axes, found: dict[str, Any]) -> None:
        for n, curve in enumerate(np.array(found["running"], float).T):
            ax.plot(np.arange(1, len(curve) + 1), curve, color=PALETTE[n % len(PALETTE)], linewidth=1.2)
        ax.axhline(0, color="#999999", linewidth=0.8)

    drawn = _one_panel_each(records, "lyapunov", draw, "steps so far", "Lyapunov exponents (nats a step)")
    words = (
        "The leading Lyapunov exponents by the QR method, as they converge after a warm-up. Below 0 a perturbation of "
        "the state, and the gradient that goes back along it, dies out in -1/λ₁ steps; above 0 it grows."
    )
    return drawn and Figure("lyapunov", "Lyapunov exponents", words, drawn)


def _lag(records: Sequence[Record]) -> Figure | None:
    blocks = [b for b in GATES if any(b in record.flow.get("lag", {}) for record in records)]

    def draw(ax: Axes, found: dict[str, Any]) -> None:
        for n, block in enumerate(blocks):
            if block in found:
                label, color = block.replace("_", " "), PALETTE[n % len(PALETTE)]
                ax.plot(np.array(found[block], float), color=color, linewidth=1.2, label=label)
        ax.plot(np.array(found["all"], float), color="#bbbbbb", linewidth=4, zorder=1, label="all parameters")
        ax.legend(fontsize=6.5)

    drawn = _one_panel_each(
        records, "lag", draw, "lag T - t (steps)", "log₁₀ ‖part of ∂L/∂W from step t‖", sharey=False
    )
    words = (
        "How much each time step contributes to the gradient of the parameters, by its distance from the last step, "
        "mean over sequences, and the same for the columns of each gate. "
        "Where it has fallen far, that step teaches nothing. Each panel has a scale of its own."
    )
    return drawn and Figure("lags", "Gradient of the parameters by lag", words, drawn)


def _sensitivity(records: Sequence[Record]) -> Figure | None:
    def draw(ax: Axes, found: dict[str, Any], style: dict[str, Any]) -> None:
        curve = np.array(found["log10_by_lag"], float)
        ax.plot(curve - curve[0], **style)

    def finish(ax: Axes) -> None:
        for fall, words in ((math.e, "1/e"), (100, "1/100")):
            ax.axhline(-math.log10(fall), color="#999999", linewidth=0.8, linestyle=":")
            ax.annotate(words, (1, -math.log10(fall)), xycoords=("axes fraction", "data"), fontsize=8, color="#666666")
        low, high = ax.dataLim.intervaly
        ax.set_ylim(max(low, DEEPEST) - 0.3, high + 0.3)

    y = "log₁₀ ‖∂y_T/∂x_t‖, relative to lag 0"
    drawn = _one_panel_a_task(records, "sensitivity", draw, finish, "lag T - t (steps)", y)
    words = (
        "How much the last output depends on the input of each step before it. The lag at which a curve crosses a "
        "dotted line is a memory horizon; one that has left the panel below is of no use to learning."
    )
    return drawn and Figure("sensitivity", "Sensitivity to the inputs", words, drawn)


def _gates(records: Sequence[Record]) -> Figure | None:
    names = [g for g in GATES if any(g in record.flow.get("gates", {}) for record in records)]
    extra = {n for r in records for n in r.flow.get("gates", {}) if "/" not in n and n not in names}
    names += sorted(extra)

    def draw(ax: Axes, found: dict[str, Any]) -> None:
        for n, name in enumerate(names):
            if name in found:
                color = PALETTE[n % len(PALETTE)]
                steps = np.arange(1, len(found[name]) + 1)
                ax.plot(steps, np.array(found[name], float), color=color, label=name.replace("_", " "))
                ax.plot(steps, np.array(found[f"{name}/open"], float), color=color, linestyle=":", linewidth=1)
        ax.set_ylim(-0.02, 1.02)
        ax.legend(fontsize=6.5)

    drawn = _one_panel_each(records, "gates", draw, "time step t", "gate, mean over units")
    words = (
        "The mean of each gate over units and sequences at every step; dotted, the share of its values above .9, "
        "saturated open. A gate that keeps the share f of a state keeps it for about 1/(1-f) steps."
    )
    return drawn and Figure("gates", "Gates", words, drawn)


def _noise(records: Sequence[Record]) -> Figure | None:
    def draw(ax: Axes, found: dict[str, Any], style: dict[str, Any]) -> None:
        mean, noise = (np.array(found[name], float) for name in ("log10_mean", "log10_noise"))
        ax.plot(np.arange(1, len(mean) + 1), mean - noise, **style)

    def finish(ax: Axes) -> None:
        ax.axhline(0, color="#999999", linewidth=0.8)

    drawn = _one_panel_a_task(records, "noise", draw, finish, "time step t", "log₁₀ ‖mean of ∂L/∂carry‖ / spread")
    words = (
        "The gradient that arrives at each time step, its mean over the sequences of the batch against their spread "
        "about it. At -n, signal and noise are even in a batch of about 100ⁿ sequences; with B sequences the mean of "
        "pure noise stands near -½ log₁₀ B."
    )
    return drawn and Figure("noise", "Gradient noise over time", words, drawn)


def _truncation(records: Sequence[Record]) -> Figure | None:
    numbers = lambda record, name: np.array(record.flow["truncation"][name], float)  # noqa: E731
    having = [record for record in records if record.flow.get("truncation")]
    tasks = by_task([record for record in having if np.isfinite(numbers(record, "cosine")).any()])  # else an empty axis
    if not tasks:
        return None
    styles = cell_styles(records)
    with canvas(8.5, 3.2 * len(tasks)) as figure:
        for row, (task, members) in zip(figure.subplots(len(tasks), 2, squeeze=False), tasks.items()):
            for ax, name, ideal in zip(row, ("cosine", "log10_ratio"), (1, 0)):
                for record in members:
                    style = styles[record.cell] | {"marker": ".", "markevery": 1}
                    ax.plot(numbers(record, "windows"), numbers(record, name), **style)
                ax.axhline(ideal, color="#999999", linewidth=0.8)
                ax.set_xscale("log", base=2)
                ax.set_xlabel("window (steps)")
                head(ax, task, size=9)
            row[0].set_ylabel("cosine with the full gradient")
            row[1].set_ylabel("log₁₀ length, truncated / full")
        _legend(figure, tasks, styles)
        drawn = png(figure)
    words = (
        "What truncated backpropagation leaves of the gradient of the cell's parameters: its direction and its length "
        "against the full one, by the number of steps that it goes back."
    )
    return Figure("truncation", "The bias of truncation", words, drawn)


def _curse(records: Sequence[Record]) -> Figure | None:
    def draw(ax: Axes, found: dict[str, Any]) -> None:
        for line_style, kind in (("--", "state {}"), ("-", "∂{}/∂{}")):  # each with the palette from its beginning
            names = [name for name in found if ("/" not in name) == (line_style == "--")]
            for number, name in enumerate(names):
                curve, (rounds, place) = np.array(found[name], float), divmod(number, len(PALETTE))
                style = {"color": PALETTE[place], "marker": MARKERS[rounds % len(MARKERS)], "markevery": 0.2}
                label = kind.format(*name.split("/", 1))
                ax.plot(np.arange(1, len(curve) + 1), curve, label=label, linestyle=line_style, markersize=4, **style)
        ax.set_xscale("log", base=2)
        ax.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1, 1), ncols=-(-len(ax.lines) // 12))  # 12 fit

    drawn = _one_panel_each(records, "curse", draw, "time step t", "log₁₀ mean square")
    words = (
        "The size of the states (dashed) and of their derivatives with respect to parameters. As a cell's memory gets "
        "longer, its states may stay of one size while these derivatives grow: the curse of memory. A name without a "
        "line is zero at every step, or not finite."
    )
    return drawn and Figure("curse", "The curse of memory", words, drawn)

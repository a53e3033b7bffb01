"""Figures of the gradient norm at every time step: at two moments of training, and all through it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqjax.report.figures import Figure, by_task, canvas, cell_styles, head, legend_above, line, png
from seqjax.report.records import Probe, Record
from seqjax.report.tables import at_rate, best_rate

STATES = {"h": "hidden state h", "c": "cell state c", "state": "state"}
DIRECTIONS = ("forward", "backward")
START = {"linestyle": (0, (4, 2)), "linewidth": 1.4}
END = {"linestyle": "-", "linewidth": 2.2}
FLOOR, CEILING = -12, 6  # orders of magnitude past which the heat map's colour says no more


def over_time(records: Sequence[Record]) -> Figure | None:
    """log10 norm against time step: a row a state, a column a task, dashed at the start, solid at the end."""
    starts = [_at(record, end=False) for record in records]
    ends = [_at(record, end=True) for record in records]
    names = _in_order({name for probes in starts + ends for probe in probes for name in probe.log10_norm} - {"carry"})
    if not names:
        return None
    tasks, styles = by_task(records), cell_styles(records)
    chunks = [list(tasks.items())[n : n + 3] for n in range(0, len(tasks), 3)]
    columns, rows = len(chunks[0]), len(names) * len(chunks)
    several_layers = len({name.split("/")[0] for name in names}) > 1
    with canvas(6.5 if columns == 1 else 9.5, max(4.2, 1.1 + 2.3 * rows)) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
        for n, (ax_row, name) in enumerate(zip(grid, names * len(chunks))):
            chunk = chunks[n // len(names)]
            for ax in ax_row[len(chunk) :]:
                ax.set_visible(False)
            for ax, (task, members) in zip(ax_row, chunk):
                for record in members:
                    start, end = _at(record, end=False), _at(record, end=True)
                    _band(ax, start, name, styles[record.cell] | (START if any(ends) else END))
                    _band(ax, end, name, styles[record.cell] | END)
                if n % len(names) == 0:
                    head(ax, task, size=11)
                if n % len(names) == len(names) - 1:
                    ax.set_xlabel("time step t")
                ax.axhline(0, color="#999999", linewidth=0.8, zorder=1)
                ax.margins(x=0.01)
                ax.xaxis.get_major_locator().set_params(integer=True)
            ax_row[0].set_ylabel(_label(name, several_layers))
        figure.supylabel("log₁₀ gradient norm, relative to the last step", fontsize=10)
        handles = [line(cell, **style | END) for cell, style in styles.items()]
        if any(ends):
            handles += [line("at initialization", color="#888888", **START)]
            handles += [line("at the end of training", color="#888888", **END)]
        legend_above(figure, handles)
        return Figure(
            "gradient_norms",
            "Gradient norms over time",
            "The norm of the loss's gradient with respect to each part of the state that enters time step t, "
            "averaged over sequences, in powers of ten relative to that at the last step: the line is the median "
            "over seeds, the band their range"
            + (", dashed at initialization and solid at the last probe of training. " if any(ends) else ". ")
            + "Read it from right to left, as the gradient travels: at -6 a millionth of it has arrived, and "
            "what happened there is hard to learn from; a line that stays near 0 carries it all the way, and a gap is "
            "a gradient that is exactly zero or not finite."
            + " A backward layer is read from left to right, and relative to the first step, which it reads last."
            * any("/backward/" in name for name in names),
            png(figure),
        )


def heat_map(records: Sequence[Record]) -> Figure | None:
    """Norm of the whole carry over time steps and training steps, where there are more than two probes."""
    maps = {id(record): _history(record) for record in records}
    shown = [record for record in records if np.isfinite(maps[id(record)][1]).any()]
    if not any(len(maps[id(record)][0]) > 2 for record in shown):
        return None
    places = [members[n : n + 4] for members in by_task(shown).values() for n in range(0, len(members), 4)]
    columns = max(len(members) for members in places)
    values = np.concatenate([maps[id(record)][1].ravel() for record in shown])
    low, high = np.nanmin(values), np.nanmax(values)
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[(low < FLOOR, high > CEILING)]
    low, high = max(low, FLOOR), min(high, CEILING)
    with canvas(6.5 if columns == 1 else 9.5, 1.1 + 2.6 * len(places)) as figure:
        grid = figure.subplots(len(places), columns, squeeze=False)
        for axes, members in zip(grid, places):
            for ax in axes[len(members) :]:
                ax.set_visible(False)
            top = max(maps[id(record)][0][-1] for record in members) or 1
            for ax, record in zip(axes, members):
                steps, norms = maps[id(record)]
                time = np.arange(norms.shape[1] + 1) + 0.5
                limits = {"vmin": low, "vmax": max(high, low + 1e-6)}
                mesh = ax.pcolormesh(time, _edges(steps, top), norms, cmap="viridis", **limits)
                ax.set_facecolor("#d9d9d9")
                ax.grid(False)
                ax.set_ylim(0, top)
                head(ax, record.cell, record.task, size=10)
                ax.xaxis.get_major_locator().set_params(integer=True)
                if members is places[-1] or columns > len(places[-1]):
                    ax.set_xlabel("time step t")
            axes[0].set_ylabel("training step (updates)")
        figure.colorbar(mesh, ax=grid, extend=extend, location="top", aspect=50, shrink=0.7,
                        label="log₁₀ gradient norm, relative to the last time step")  # fmt: skip
        return Figure(
            "gradient_heat_map",
            "Gradient norms through training",
            "The same norm for the whole state, as a colour, with the time step across and the training step "
            "upwards, the median over the seeds still in training, on one colour scale for all cells. "
            "Dark is a gradient lost on its way back from the last step, and a map that grows bright towards its "
            "left edge higher up is a network that learns to carry it; grey is not measured, zero or not finite.",
            png(figure),
        )


def _at(record: Record, end: bool) -> list[Probe]:
    """The first probe of every run at the best learning rate, or the last one where it trained on."""
    probed = [run.probes for run in at_rate(record, best_rate(record)) if run.probes]
    return [probes[-1] for probes in probed if probes[-1].step > 0] if end else [p[0] for p in probed if p[0].step == 0]


def _relative(norms: np.ndarray, backward: bool = False) -> np.ndarray:
    """log10 norms [T] less that at the last step that has one; of a backward layer, the first, which is read last."""
    there = norms[np.isfinite(norms)]
    return norms - there[0 if backward else -1] if there.size else norms


def _over_seeds(reduce: Any, curves: Sequence[np.ndarray]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a step at which no seed has a norm stays nan
        return reduce(np.stack(curves), axis=0)


def _band(ax: Any, probes: Sequence[Probe], name: str, style: dict[str, Any]) -> None:
    curves = [_relative(probe.log10_norm[name], "/backward/" in name) for probe in probes if name in probe.log10_norm]
    if not curves:
        return
    time = np.arange(1, len(curves[0]) + 1)
    style = style | ({"marker": "o"} if len(time) == 1 else {})
    ax.plot(time, _over_seeds(np.nanmedian, curves), **style)
    if len(curves) > 1:
        low, high = _over_seeds(np.nanmin, curves), _over_seeds(np.nanmax, curves)
        ax.fill_between(time, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _history(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Probed steps [N], and the median over seeds of the relative norms of the carry [N, T]."""
    found: dict[int, list[np.ndarray]] = {}
    for run in at_rate(record, best_rate(record)):
        for probe in run.probes:
            if "carry" in probe.log10_norm:
                found.setdefault(probe.step, []).append(_relative(probe.log10_norm["carry"]))
    steps = sorted(found)
    return np.array(steps), np.array([_over_seeds(np.nanmedian, found[step]) for step in steps])


def _edges(steps: np.ndarray, top: float) -> np.ndarray:
    """The borders [N + 1] of the bands of N steps: half way to their neighbours."""
    above = (steps[-1] - steps[-2]) / 2 if len(steps) > 1 else top / 20
    return np.concatenate([[steps[0] - above], (steps[1:] + steps[:-1]) / 2, [steps[-1] + above]])


def _parts(name: str) -> tuple[int, str, str]:
    """'layer_0/forward/h' -> (0, 'forward', 'h')."""
    layer, *rest = name.split("/")
    way = rest.pop(0) if len(rest) > 1 and rest[0] in DIRECTIONS else ""
    return int(layer.removeprefix("layer_")), way, "/".join(rest)


def _in_order(names: set[str]) -> list[str]:
    """By state, h and c first, so that layers and directions of one state stand together."""

    def place(name: str) -> tuple[Any, ...]:
        layer, way, state = _parts(name)
        return [*STATES, state].index(state), state, layer, way == "backward"

    return sorted(names, key=place)


def _label(name: str, several_layers: bool) -> str:
    layer, way, state = _parts(name)
    where = [f"layer {layer + 1}"] * several_layers + [way] * bool(way)
    return STATES.get(state, f"state {state}") + (f"\n{', '.join(where)}" if where else "")

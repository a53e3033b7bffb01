"""What the figures of a report have in common: size, colours, legends, PNG."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqjax.report.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

DOTS_PER_INCH = 150
# Okabe & Ito (2008): told apart with every common form of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("", "s", "^", "D", "v")
PLAIN = {"parse_math": False}  # of what data and specs say: a "$" is a sign, and no formula
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


class Figure(NamedTuple):
    """One picture: the name of its file, its title, what is drawn and how to read it, and the PNG."""

    name: str
    title: str
    explanation: str
    png: bytes


@contextmanager
def canvas(width: float, height: float) -> Iterator[Canvas]:
    """An empty figure in inches, in the house's style, without pyplot's global state."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(STYLE):
        yield Canvas(figsize=(width, height), layout="constrained")


def png(figure: Canvas) -> bytes:
    """The figure's pixels; the same figure gives the same bytes."""
    for curve in (curve for ax in figure.axes for curve in ax.lines):
        if not np.isfinite(np.asarray(curve.get_ydata(), float)).any():
            curve.set_markevery(None)  # matplotlib cannot space marks along nothing
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return out.getvalue()


def cell_styles(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """A colour for each cell, and past the palette's end a marker besides: the same in every figure."""
    cells = list(dict.fromkeys(record.cell for record in records))
    return {
        cell: {
            "color": PALETTE[n % len(PALETTE)],
            "marker": MARKERS[n // len(PALETTE) % len(MARKERS)],
            "markevery": 0.15,
            "markersize": 5,
        }
        for n, cell in enumerate(cells)
    }


def by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each task, the shorter lengths first."""
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.length or 0):
        found.setdefault(record.task, []).append(record)
    return found


def panels(figure: Canvas, count: int, columns: int, **options: Any) -> list[Axes]:
    """Axes for `count` panels in rows of `columns`; what is left of the last row stays empty."""
    grid = figure.subplots(-(-count // columns), columns, squeeze=False, **options).ravel()
    for unused in grid[count:]:
        unused.set_visible(False)
    return list(grid[:count])


def head(ax: Axes, *names: str, size: float) -> None:
    """Names above a panel, each on a line of its own, long ones broken so that they leave those beside them alone."""
    across = ax.figure.get_figwidth() / ax.get_subplotspec().get_gridspec().ncols
    room = int(115 * across / size)  # characters in a line
    ax.set_title("\n".join(textwrap.fill(name, room) for name in names), fontsize=size, **PLAIN)


def line(label: str, **options: Any) -> Any:
    """A legend entry that stands for a line or a mark."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **options)


def legend_above(figure: Canvas, handles: Sequence[Any]) -> None:
    """One legend for all panels, above them, in as many columns as fit, long names broken; the figure grows by it."""
    room = int(figure.get_figwidth() * 13)  # characters in a line
    for handle in handles:
        handle.set_label(textwrap.fill(handle.get_label(), room - 6, subsequent_indent="    "))
    names = [handle.get_label().split("\n") for handle in handles]
    columns = max(1, min(room // (max(len(part) for name in names for part in name) + 6), len(handles)))
    lines = -(-sum(map(len, names)) // columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * max(0, lines - 2))
    legend = figure.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=9.5)
    for text in legend.get_texts():
        text.set(**PLAIN)

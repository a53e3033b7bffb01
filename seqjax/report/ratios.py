"""The picture of RESULTS.md: every measured number over the published one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from seqjax.papers.row import LESS_IS_BETTER, Paper, Row
from seqjax.report.figures import PALETTE, Figure, canvas, legend_above, line, png
from seqjax.report.medians import Measured, without_memory
from seqjax.report.verdicts import decisive, fewer, judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Measured over published"
EXPLANATION = (
    "Every row with both numbers, at the largest budget that was run: the median over seeds and its bootstrap "
    "interval, divided by the published number. Left of 1 is better where less is better; a row of which more is "
    "better is marked ↑. An arrow leads to seeds that never solve the task or diverge, or to a share of none. A black "
    "stroke is the best guess without memory, where a loss is measured. Rows whose published number is zero are left "
    "out."
)
COLOURS = {"reproduced": PALETTE[2], "better": PALETTE[0], "not reproduced": PALETTE[1], "unclear": "#777777"}
GUESS = {"color": "black", "marker": "|", "linestyle": "none", "markersize": 9}


class Line(NamedTuple):
    """One row that has both numbers."""

    paper: str
    row: Row
    budget: str
    cut: bool
    found: Measured
    words: str
    guess: float | None = None  # the best without memory


def ratios(papers: Mapping[str, Paper], results: Mapping[tuple[str, str, str], dict[str, Any]]) -> Figure | None:
    """Measured over published of every row that has both, at the largest budget that was run; None if none has.

    results: as `read_results` gives them
    """
    lines = [each for name, paper in papers.items() for row in paper.rows if (each := line_of(name, row, results))]
    if not lines:
        return None
    with canvas(9, 1.2 + 0.27 * len(lines)) as figure:
        ax = figure.subplots()
        ax.set_xscale("log")
        drawn = [value / each.row.published for each in lines for value in (*each.found, each.guess or 0)]
        drawn = [ratio for ratio in drawn if 0 < ratio < math.inf]
        low, high = min([0.5, *drawn]) / 1.3, max([2, *drawn]) * 1.3
        for place, each in enumerate(lines):
            _draw(ax, place, each, low, high)
        ax.axvline(1, color="black", linewidth=1)
        ax.set_xlim(low, high)
        ax.set_ylim(len(lines) - 0.5, -0.5)
        ax.set_yticks(range(len(lines)), [_label(each) for each in lines], fontsize=8.5)
        ax.set_xticks(ticks(low, high), [f"{tick:g}" for tick in ticks(low, high)])
        ax.minorticks_off()
        ax.set_xlabel("measured / published")
        handles = [line(words, color=colour, marker="o", linestyle="none") for words, colour in COLOURS.items()]
        handles += [line("within the row's tolerance", color="#cccccc", linewidth=6)]
        handles += [line("best guess without memory", **GUESS)]
        legend_above(figure, handles)
        return Figure("ratios", TITLE, EXPLANATION, png(figure))


def line_of(paper: str, row: Row, results: Mapping[tuple[str, str, str], dict[str, Any]]) -> Line | None:
    """What is drawn of a row; None where a number is missing, or the published one is zero."""
    kept = decisive(row, paper, results)
    if kept is None or not row.published:
        return None
    budget, result = kept
    found, words = judged(row, budget, result)
    cut = bool(fewer(row, result["config"]))
    guess = without_memory(row, result)
    return None if found.value is None else Line(paper, row, budget, cut, found, words, guess)


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every power of ten from low to high; the powers alone where those were more than 12."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    fine = [digit * power for power in powers for digit in (1, 2, 5) if low <= digit * power <= high]
    return fine if len(fine) <= 12 else [power for power in powers if low <= power <= high]


def _draw(ax: Axes, place: int, each: Line, left: float, right: float) -> None:
    row, colour = each.row, next(colour for words, colour in COLOURS.items() if each.words.startswith(words))
    band = {"color": "#cccccc", "linewidth": 6, "solid_capstyle": "butt"}  # else it is wider than it is long
    ax.plot([1 - row.within, 1 + row.within], [place, place], zorder=1, **band)
    ratios = [value / row.published for value in each.found]
    middle, low, high = (min(max(ratio, left), right) for ratio in ratios)
    ax.plot([low, high], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
    for ratio in ratios:
        if math.isinf(ratio) or not ratio:
            at, marker = (right / 1.06, ">") if ratio > 0 else (left * 1.06, "<")
            ax.plot([at], [place], marker=marker, color=colour, markersize=7)
    if each.guess is not None:
        ax.plot([each.guess / row.published], [place], **GUESS)
    if left < middle < right:
        ax.plot([middle], [place], marker="o", color=colour, markersize=5.5)


def _label(each: Line) -> str:
    more = "" if each.row.measure in LESS_IS_BETTER else " ↑"
    return f"{each.paper}  {each.row.name}{more}" + (" (cut budget)" if each.cut else "")

"""Two rows of a paper side by side: how many times as many steps the one needs to solve its task as the other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from seqjax.papers.row import BUDGETS, Comparison, Paper, Row
from seqjax.report.medians import Measured, times_slower
from seqjax.report.tables import short
from seqjax.report.verdicts import fewer, outdated, published, weighed

COMPARED = ("steps to solve", "over those of", "budget", "published ratio", "measured [bootstrap interval]", "verdict")


def comparison_lines(
    name: str, paper: Paper, results: Mapping[tuple[str, str, str], dict[str, Any]]
) -> list[list[str]]:
    """A line for each comparison of a paper, at the largest budget that both rows were run at."""
    rows = {row.name: row for row in paper.rows}
    return [_line(name, each, (rows[each.slower], rows[each.faster]), results) for each in paper.comparisons]


def _line(
    name: str, claim: Comparison, rows: tuple[Row, Row], results: Mapping[tuple[str, str, str], dict[str, Any]]
) -> list[str]:
    begin = [f"`{claim.slower}`", f"`{claim.faster}`"]
    both = [budget for budget in BUDGETS[1:] if all((name, row.name, budget) in results for row in rows)]
    if not both:
        return [*begin, "-", published(claim), "not run", "-"]
    budget = both[-1]
    kept = [results[name, row.name, budget] for row in rows]
    found = times_slower(*kept)
    cut = any(fewer(row, result["config"]) for row, result in zip(rows, kept))
    words = f"unclear: {claim.faster} is not solved"
    if found.value is not None:
        words = weighed(found, claim.published, claim.tolerance, cut, less_is_better=False)
    if any(outdated(row, budget, result) for row, result in zip(rows, kept)):
        words = "unclear: a row has other settings now"
    return [*begin, budget, published(claim), _interval(found), words]


def _interval(found: Measured) -> str:
    """A ratio and its interval, as text: 'more than 1.9' where the slower row is not solved."""
    if found.value is None:
        return "-"
    if math.isinf(found.value):
        return f"more than {short(found.low)}"
    high = "∞" if math.isinf(found.high) else short(found.high)
    return f"{short(found.value)} [{short(found.low)}..{high}]"

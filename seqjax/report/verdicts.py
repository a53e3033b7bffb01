"""The verdict on a row of a paper: what its seeds gave beside the published number."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from seqjax.papers.row import BUDGETS, LESS_IS_BETTER, Comparison, Row
from seqjax.report.medians import Measured, at_best, measured
from seqjax.report.tables import short


def verdict(row: Row, found: Measured, budget: str, cut: bool = False) -> str:
    """'reproduced', 'better', 'not reproduced' or 'unclear: why'; no verdict of a smoke budget."""
    if budget == "smoke":
        return "no verdict (smoke)"
    how = {"less_is_better": row.measure in LESS_IS_BETTER, "fails": row.fails}
    return weighed(found, row.published, row.within, cut, **how)


# In words, for the page that the verdicts stand on.
RULES = (
    "A row is `reproduced` where the published number lies in the interval or within a tolerance of the median; else "
    "it is `better` or `not reproduced`. An interval without an end, as seeds never solve the task or diverge, holds "
    "every number on that side: a published number that it holds, beyond the tolerance, is `unclear`. So is what is "
    "worse with a smaller budget than the row's. Where the paper says that a task is not learned, what is better is "
    "`not reproduced`, what is worse is `reproduced`, and a smaller budget that does not learn it is `unclear`."
)


def weighed(
    found: Measured, published: float | None, tolerance: float, cut: bool, *, less_is_better: bool, fails: bool = False
) -> str:
    """What was measured against a published number, by the rules of RULES.

    cut:   whether fewer steps, seeds or rates were run than the row has
    fails: whether the published number says that the task is not learned
    """
    if published is None:
        return "unclear: there is no published number"
    if found.value is None and fails:
        return f"unclear: not learned{SMALLER}" if cut else "reproduced"
    if found.value is None:
        return f"unclear: no finite value{SMALLER}" if cut else "not reproduced: no finite value"
    near = abs(found.value - published) <= tolerance * abs(published)
    inside = found.low <= published <= found.high
    if inside and not near and math.inf in (found.high, -found.low):
        return OPEN
    better = found.value < published if less_is_better else found.value > published
    if fails:
        if better and not near and not inside:
            return "not reproduced" + SMALLER * cut
        return f"unclear: not learned{SMALLER}" if cut else "reproduced"
    if near or inside:
        return "reproduced" + SMALLER * cut
    if better:
        return "better" + SMALLER * cut
    return f"unclear: worse{SMALLER}" if cut else "not reproduced"


OPEN = "unclear: the interval has no end, as seeds never solve the task or diverge"
SMALLER = " (with a smaller budget)"


def decisive(
    row: Row, paper: str, results: Mapping[tuple[str, str, str], dict[str, Any]]
) -> tuple[str, dict[str, Any]] | None:
    """The largest budget at which a row was run, and its result; None if none of those that decide was.

    results: as `read_results` gives them
    """
    found = [budget for budget in BUDGETS[1:] if (paper, row.name, budget) in results]
    return (found[-1], results[paper, row.name, found[-1]]) if found else None


def judged(row: Row, budget: str, result: Mapping[str, Any]) -> tuple[Measured, str]:
    """What a kept result measured, and the verdict on it: none if its settings are not the row's any more."""
    runs = at_best(result)
    found = measured(row, runs, result["config"]["batch_size"])
    other = outdated(row, budget, result)
    words = verdict(row, found, budget, bool(fewer(row, result["config"])))
    return found, f"unclear: the row has another {', '.join(other)} now" if other else words


def fewer(row: Row, config: Mapping[str, Any]) -> list[str]:
    """What a result was made with less of than the row has: 'steps 3000 of 50000'."""
    both = {name: (config[name], row.settings[name]) for name in ("steps", "seeds") if name in row.settings}
    both["learning rates"] = len(config["learning_rates"]), len(row.settings["learning_rates"])
    return [f"{name} {had:g} of {whole:g}" for name, (had, whole) in both.items() if had < whole]


def outdated(row: Row, budget: str, result: Mapping[str, Any]) -> list[str]:
    """What decides a row's numbers and is not what a kept result was made with."""
    return changed(row, budget, result["config"], any(run["status"] == "solved" for run in result["runs"]))


# how many seeds is shown
DECIDES_NOTHING = ("probe_every", "probe_size", "checkpoint_every", "stop_when_decided", "seeds")

TEXT = r"""('([^'\\]|\\.)*'|"([^"\\]|\\.)*")"""  # a pattern of a text as specs have it


def changed(row: Row, budget: str, config: Mapping[str, Any], solved: bool = True) -> list[str]:
    """What decides a row's numbers and is not what a result was made with; a smoke budget decides none.

    solved: whether any run solved the task; where none did, it decides nothing that one would have stopped there
    """
    if budget == "smoke":
        return []
    # a setting that the row does not name, or a record that is older than it, has its default
    wanted, made = (dict(row.defaults) | given for given in ({"cell": row.cell} | row.settings_at(budget), config))
    idle = DECIDES_NOTHING if solved else (*DECIDES_NOTHING, "stop_when_solved")
    other = [name for name in wanted if name not in idle and _plain(wanted[name]) != _plain(made.get(name))]
    elsewhere = re.escape(row.task_on("PLACE")).replace("'PLACE'", TEXT)
    return other + ([] if re.fullmatch(elsewhere, config["task"]) else ["task"])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def published(claim: Row | Comparison) -> str:
    """A published number with the mark of its source, as text."""
    return "-" if claim.published is None else f"{claim.published:.7g} [{claim.source}]"


def interval(row: Row, found: Measured) -> str:
    """A median and its interval, as text."""
    if found.value is None:
        return "-"
    without = "never" if row.measure == "sequences" else "diverged"
    text = [without if math.isinf(value) else short(value) for value in found]
    return text[0] + (f" [{text[1]}..{text[2]}]" if text[1] != text[2] else "")

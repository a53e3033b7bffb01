"""How records of `experiments.speed` stand to what this project wants to be: its bars of speed on a CPU."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from experiments.ways import PRODUCTS, TOGETHER
from seqjax.report.markdown import pipe_table

OURS, PROBED = "seqjax", "seqjax fused"
IN_A_PROGRAM = f"one of {TOGETHER} steps"


class Bar(NamedTuple):
    """The median ratio of a time of ours to another of the same repetition, and what it should be at most."""

    heading: str
    kind: str
    to: str
    most: float


BARS = (
    Bar("forward to torch", "forward", "torch", 1.0),
    Bar("step to torch", "step", "torch", 0.8),
    Bar("step to linen", "step", "flax.linen", 0.6),
    Bar(f"{IN_A_PROGRAM} to torch", "steps", "torch", 0.8),
    Bar(f"{IN_A_PROGRAM} to linen", "steps", "flax.linen", 0.6),
    Bar(f"{IN_A_PROGRAM} to the products alone", "steps", PRODUCTS, 1.2),
)
MOST_OF_PROBE = 1.15
RUNS, MOST_OF_RUNS = "8", 4.0


def reached(records: Sequence[dict[str, Any]]) -> list[str]:
    """Paragraphs and a table in Markdown; nothing where there is no record of layers on a CPU."""
    layers = [record for record in records if record["what"] == "layers" and _on_cpu(record)]
    rows = [row for record in layers for row in _rows(record)]
    if not rows:
        return []
    headings = ["", "T,B,D,H", "our fastest", *(f"{bar.heading} (at most {bar.most})" for bar in BARS)]
    headings.append(f"with probe to without (at most {MOST_OF_PROBE})")
    return [
        "### The bars",
        "Medians of the ratio within a repetition, bold where the bar is reached. The way is that of ours with the "
        "fastest training step, one of several that one program makes, as `seqjax.training` does; the probe is timed "
        "with `strategy='fused'` on one device.",
        "\n".join(pipe_table(headings, rows, numbers=range(3, len(headings)))),
        *(_runs(record) for record in records if record["what"] == "seeds" and _on_cpu(record)),
    ]


def _rows(record: dict[str, Any]) -> list[list[str]]:
    """One for each size whose steps are timed."""
    rows = []
    for label, size in record["sizes"].items():
        times = size["milliseconds"]
        ours = [name for name in times.get("steps", {}) if name.startswith(OURS)]
        if not ours:
            continue
        best = min(ours, key=lambda name: statistics.median(times["steps"][name]))
        found = [_judged(times[bar.kind][best], times[bar.kind].get(bar.to), bar.most) for bar in BARS]
        probe = _judged(times["probe"].get(PROBED), times["gradient"].get(PROBED), MOST_OF_PROBE)
        rows.append([record["layer"], label, best.removeprefix(OURS).strip(), *found, probe])
    return rows


def _runs(record: dict[str, Any]) -> str:
    times = record["milliseconds"]
    found = _judged(times.get(RUNS), times.get("1"), MOST_OF_RUNS)
    return f"{RUNS} runs trained together take {found} times one ({record['config']}; at most {MOST_OF_RUNS})."


def _judged(ours: list[float] | None, theirs: list[float] | None, most: float) -> str:
    """The median ratio, bold if it is at most so much; empty where one was not timed."""
    if not ours or not theirs:
        return ""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    return f"**{ratio:.2f}**" if ratio <= most else f"{ratio:.2f}"


def _on_cpu(record: dict[str, Any]) -> bool:
    return record["environment"]["device"]["platform"] == "cpu"

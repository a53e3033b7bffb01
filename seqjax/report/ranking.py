"""The cells that experiments.gradient_flow measured, ranked by how much of the gradient they keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seqjax.report.records import Record


def each_layer(records: Sequence[Record]) -> list[Record]:
    """The records that experiments.gradient_flow measured, one for each layer; of several, the cell's name tells which.

    A layer's `flow` is quantity -> name -> numbers.
    """
    found = []
    for record in records:
        layers = record.flow if "layer_0" in record.flow else {"layer_0": record.flow}  # one may go unnamed
        for layer, flow in layers.items():
            cell = f"{record.cell}, {layer}" if len(layers) > 1 else record.cell
            found += [record._replace(flow=flow, cell=cell)] if flow else []
    return found


def ranking(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the cells, the one whose gradient stays nearest to its size first; layers apart."""
    rows = []
    for record in each_layer(records):
        norms = [run.probes[0].first_to_last for run in record.runs if run.probes]
        norms = [value for value in norms if value is not None]
        first = float(np.median(norms)) if norms else None
        sensitivity, exponents = record.flow.get("sensitivity", {}), record.flow.get("lyapunov", {})
        falls = [_read(sensitivity.get(name)) for name in ("fall_e", "fall_100")]
        leading = _read((exponents.get("exponents") or [None])[0])
        keeping = {name: value for name, value in record.flow.get("gates", {}).items() if name.endswith("/horizon")}
        keeps = next(
            (keeping[f"{gate}/horizon"] for gate in ("forget_gate", "update_gate") if f"{gate}/horizon" in keeping),
            None,
        )
        numbers = [first, *falls, _read(keeps), leading]
        numbers.append(None if leading is None else -1 / leading if leading < 0 else math.inf)
        rows.append((math.inf if first is None else abs(first), [record.cell, record.task, *map(_number, numbers)]))
    every = ", of all layers" * any("layer_1" in record.flow for record in records)
    headings = ["cell", "task", f"log10 gradient{every}, first step / last"]
    headings += ["sensitivity falls by e after", "by 100 after", "1/(1-f) of the gates", "λ₁ (nats a step)", "-1/λ₁"]
    return headings, [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def _read(value: float | str | None) -> float | None:
    """A number of flow.json, in which "inf" is for ever; None of what was not measured, or is no number."""
    return None if value is None else float(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}".replace("inf", "∞")

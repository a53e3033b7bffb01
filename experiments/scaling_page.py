"""From records of `experiments.scaling` to tables and the generated part of docs/scaling.md."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from experiments.pages import Table, filled
from experiments.timing import spread

FOLDER = "results/scaling"
HEADINGS = {"runs": "runs on one device", "devices": "devices", "processes": "processes"}


class Link(NamedTuple):
    """What joins the devices: seconds until a message is there, and bytes a second. Assumed, not measured."""

    name: str
    latency: float
    bandwidth: float


LINKS = (Link("within a host, 300 GB/s", 5e-6, 300e9), Link("between hosts, 25 GB/s", 20e-6, 25e9))


def tables(record: dict[str, Any]) -> list[Table]:
    """The table of a record: a line for each number and mesh."""
    rows = []
    first = {}
    for row in record["rows"]:
        way = row["mesh"].replace("run=1,", "").split("=")[0]
        base = first.setdefault(way, (row["number"], statistics.median(row["milliseconds"]) / row["runs"]))
        each = statistics.median(row["milliseconds"]) / row["runs"]
        sent = ", ".join(f"{kind} {size:,}" for kind, size in sorted(row["sent"].items())) or "nothing"
        line = [str(row["number"]), f"`{row['mesh']}`", str(row["runs"]), spread(row["milliseconds"]), f"{each:.2f}"]
        rows.append([*line, f"{base[1] / each:.2f}", f"{row['bytes'] / 1e6:.2f}", sent])
    headings = [HEADINGS[record["what"]], "mesh", "runs", "ms a step", "ms a step and run", "times as fast"]
    headings += ["MB on a device", "bytes exchanged in a run's step"]
    return [Table(record["config"], headings, rows)]


def allreduce_seconds(parameters: int, parts: int, link: Link) -> float:
    """2 (n - 1) (latency + 4 P / n / bandwidth): a ring over n devices, P float32 gradients."""
    return 2 * (parts - 1) * (link.latency + 4 * parameters / parts / link.bandwidth) if parts > 1 else 0.0


def waves(programs: int, chips: int, chips_each: int) -> int:
    """How often the chips are filled until every program has had its share."""
    return math.ceil(programs / (chips // chips_each))


def on_paper(records: dict[str, dict[str, Any]]) -> str:
    """What a sweep on 256 chips would look like, from the sizes that were counted and the links that are assumed."""
    cells, lengths, rates, seeds, chips = 5, 6, 4, 10, 256
    programs, runs = cells * lengths, rates * seeds
    rows = []
    for each in (4, 8, 20, 40):
        on_one = math.ceil(runs / each)
        filled = waves(programs, chips, each)
        share = programs * runs / (filled * chips * on_one)
        rows.append(
            [f"`run={each}`", str(on_one), str(chips // each), str(filled), f"{filled * on_one}", f"{share:.0%}"]
        )
    headings = ["mesh of a job", "runs on a chip", "jobs at once", "waves", "wall time in runs", "chips busy"]
    parts = [
        f"{cells} cells x {lengths} lengths are {programs} programs, the jobs of `--launch=slurm`; {rates} learning "
        f"rates x {seeds} seeds are {runs} runs in each, which stay together. Let all runs take the same time, and "
        "those on a chip lie one after the other (at worst; together they take less). 256 chips are then filled so:",
        str(Table("Waves: ⌈30 / ⌊256 / n⌋⌉ for jobs of n chips; ⌈40 / n⌉ runs on a chip", headings, rows)),
        "Along `run` nothing is exchanged while training: an evaluation gathers four numbers a run, 640 bytes for 40 "
        "runs. Along `data` every step exchanges the gradient, in a ring 2 (n - 1) (latency + 4 P / n / bandwidth) s.",
    ]
    sizes = {r["parameters"] for record in records.values() for r in record["rows"]}
    rows = []
    for parameters in sorted({*sizes, 1_000_000, 10_000_000}):
        for n in (2, 8, 64):
            times = [f"{1e6 * allreduce_seconds(parameters, n, link):.0f}" for link in LINKS]
            rows.append([f"{parameters:,}", str(n), f"{4 * parameters:,}", *times])
    headings = ["parameters", "devices", "bytes of gradient", *(f"µs {link.name}" for link in LINKS)]
    latencies = ", ".join(f"{1e6 * link.latency:.0f} µs {link.name}" for link in LINKS)
    parts.append(str(Table(f"All-reduce of a step, by the formula; assumed: {latencies}", headings, rows)))
    parts.append(
        "A recurrent network of T = 1000 steps takes at least its T dependent steps; at an assumed 5 µs each these "
        "are 5 ms, whatever the share of the batch. So a split gains only where the batch, not the chain of steps, "
        "sets the time, and a chip is better used by more runs: `data` stays 1 unless it is asked for."
    )
    return "\n\n".join(parts)


def where_it_costs(records: dict[str, dict[str, Any]]) -> str:
    """What a split batch costs beyond its share of the work, against the bytes that it exchanges."""
    rows = []
    for what in ("devices", "processes"):
        found = [row for row in records.get(what, {"rows": []})["rows"] if "data" in row["mesh"]]
        whole = next((statistics.median(row["milliseconds"]) for row in found if row["number"] == 1), None)
        cores = records[what]["machine"]["cores"] if found else 1
        for row in found:
            if row["number"] > 1 and whole is not None:
                ideal = whole / min(row["number"], cores)
                time = statistics.median(row["milliseconds"])
                sent = sum(row["sent"].values())
                rows.append(
                    [f"{row['number']} {what}", f"{sent:,}", f"{time:.2f}", f"{ideal:.2f}", f"{time - ideal:+.2f}"]
                )
    headings = ["", "bytes a step", "ms a step", "ms of its share alone", "ms more"]
    title = "A batch split: the share alone is the time of one device divided by the devices, at most by the cores"
    return str(Table(title, headings, rows))


def rendered(page: str, records: dict[str, dict[str, Any]]) -> str:
    """The page with what the records say between its marks. Raises UserError if it has none."""
    parts = []
    for name, record in records.items():
        machine, versions = record["machine"], record["environment"]["versions"]
        origin = (
            f"`{record['command']}`\n\n{machine['processor']}, {machine['cores']} cores, load {machine['load']:.2f} "
        )
        origin += f"at the start; jax {versions['jax']}; medians of {record['repeats']}, [least..most]."
        note = f" {record['note']}" if record["note"] else ""
        parts += [f"### By {name}", origin + note, *map(str, tables(record))]
    parts += ["### Where talking begins to cost", where_it_costs(records), "### 256 chips on paper", on_paper(records)]
    return filled(page, FOLDER, parts)


def update(page: Path, folder: Path) -> None:
    """Put the records' tables between the page's marks."""
    page.write_text(rendered(page.read_text(), read(folder)))


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured -> its record; none of one process by itself, which has no table."""
    found = {record["what"]: record for record in (json.loads(path.read_text()) for path in folder.glob("*.json"))}
    return {what: found[what] for what in HEADINGS if what in found}

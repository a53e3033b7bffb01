"""From records of `experiments.speed` to tables, the generated part of docs/speed.md, and a figure of the growth."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import speed_bars
from experiments.pages import Table, filled
from experiments.timing import Times, ratios, spread
from experiments.ways import PRODUCTS
from seqjax.report.figures import MARKERS, PALETTE, canvas, png

FOLDER = "results/speed"
FIGURE = "speed_growth.png"
SHOWN = {"forward": "forward", "gradient": "gradient", "step": "step", "steps": speed_bars.IN_A_PROGRAM}
NO_GPU = (
    "**No number here is from a GPU**: no GPU was at hand. The strategies `cudnn` and `pallas`, FlashRNN beside them, "
    "bfloat16 products, and every bar of speed that names an H100 are unmeasured, and nothing is claimed of them."
)
COMMANDS = """\
To be made anew on a quiet machine, each record by one command; under which load it was made stands with each:

```
python -m experiments.speed --what=layers --repeats=7 --record=results/speed/layers_lstm.json
python -m experiments.speed --what=layers --layer=gru --repeats=7 --sizes='200,32,2,128;35,20,200,200' \\
  --record=results/speed/layers_gru.json
python -m experiments.speed --what=layers --layer=rnn --sizes='200,32,2,128;35,20,200,200;100,8,88,467' \\
  --record=results/speed/layers_rnn.json
python -m experiments.speed --what=growth --growing=8,2,128 --budget=400 --record=results/speed/growth.json
python -m experiments.speed --what=seeds --record=results/speed/seeds.json
python -m experiments.speed --what=layouts --record=results/speed/layouts.json
python -m experiments.speed --what=layouts --cell='lstm(hidden=4)' --batch_size=1 --runs=16 \\
  --layouts='sharded map,sharded vmap,vmap' --record=results/speed/layouts_small.json
python -m experiments.speed --what=startup --record=results/speed/startup.json
python -m experiments.speed --what=page
```"""


def tables(record: dict[str, Any]) -> list[Table]:
    """The tables of a record, by what was timed."""
    return {"layers": _layers, "layouts": _layouts, "growth": _growth, "seeds": _seeds, "startup": _startup}[
        record["what"]
    ](record)


def update(page: Path, records: Path) -> None:
    """Put the records' tables between the page's marks, and draw the figure beside it."""
    given = read(records)
    page.write_text(rendered(page.read_text(), given))
    grown = [record for _, record in given if record["what"] == "growth"]
    if grown:
        (page.parent / FIGURE).write_bytes(figure(grown[-1]))


def read(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and record of each file, in the order of their names."""
    return [(path.name, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def rendered(page: str, records: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """The page with what the records say between its marks. Raises UserError if it has none."""
    parts = [COMMANDS, _about_gpus(records), *speed_bars.reached([record for _, record in records])]
    for name, record in records:
        parts += [f"### {name}", _origin(record), *map(str, tables(record))]
        if record["what"] == "growth":
            parts.append(f"![Time of a gradient by length]({FIGURE})")
    if not records:
        parts.append("There is no record yet.")
    return filled(page, FOLDER, parts)


def figure(record: dict[str, Any]) -> bytes:
    """Time of a gradient against length, both logarithmic, one line a way; median and range. A PNG."""
    with canvas(8.5, 4.2) as picture:
        ax = picture.subplots()
        for number, name in enumerate(dict.fromkeys(name for row in record["lengths"].values() for name in row)):
            points = [
                (int(length), row[name]["milliseconds"])
                for length, row in record["lengths"].items()
                if "milliseconds" in row.get(name, {})
            ]
            if not points:
                continue
            lengths, times = zip(*points)
            style = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)] or "o"}
            style |= {"linestyle": ":"} if number >= len(PALETTE) else {}  # no two lines of one colour alike
            if name.startswith(PRODUCTS):  # no layer, but below it
                style |= {"color": "0.5", "linestyle": "--"}
            ax.plot(lengths, [statistics.median(each) for each in times], label=name, markersize=4, **style)
            ax.fill_between(lengths, [*map(min, times)], [*map(max, times)], color=style["color"], alpha=0.2, lw=0)
        ax.set(xscale="log", yscale="log", xlabel="time steps T", ylabel="forward pass and gradient, ms")
        ax.set_title(f"{record['layer']}, B,D,H = {','.join(map(str, record['size']))}")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
        return png(picture)


def _layers(record: dict[str, Any]) -> list[Table]:
    """For each size: times, with the ratio to the fastest that is not ours."""
    found = []
    for label, size in record["sizes"].items():
        times, headings, relative = size["milliseconds"], [""], {}
        kinds = [kind for kind in SHOWN if times.get(kind)]
        for kind in kinds:
            headings += [f"{SHOWN[kind]} ms", "to peer"]
            peers = [name for name in times[kind] if not name.startswith(("seqjax", PRODUCTS))]
            fastest = min(peers, key=lambda name: statistics.median(times[kind][name]), default=None)
            relative[kind] = ratios(times[kind], fastest) if fastest else {}
        headings += ["probe to gradient", "gradient MB", "with probe", "compiled in s"]
        rows = []
        for name in times["forward"]:
            row = [name]
            for kind in kinds:
                timed = name in times[kind]
                row += [spread(times[kind][name]) if timed else ""]
                row += [spread(relative[kind][name]) if timed and relative[kind] else ""]
            dearer = [a / b for a, b in zip(times["probe"].get(name, []), times["gradient"][name])]
            memory, seconds = size["bytes"].get(name, {}), size["seconds"].get(name, {})
            row += [spread(dearer) if dearer else "", _megabytes(memory, "gradient"), _megabytes(memory, "probe")]
            rows.append([*row, f"{seconds['gradient']:.2f}" if seconds else ""])
        notes = tuple(f"{name}: {why}" for name, why in size["missing"].items())
        found.append(Table(f"{record['layer']}, T,B,D,H = {label}", headings, rows, notes))
    return found


def _growth(record: dict[str, Any]) -> list[Table]:
    title = f"{record['layer']}, B,D,H = {','.join(map(str, record['size']))}: forward pass and gradient by length"
    rows, notes = [], []
    for length, row in record["lengths"].items():
        for name, each in row.items():
            if "missing" in each:
                notes.append(f"T={length}, {name}: {each['missing']}")
                continue
            a_step = 1e3 * statistics.median(each["milliseconds"]) / int(length)
            compiling = f"{each['seconds']:.2f}" if "seconds" in each else ""
            row = [length, name, spread(each["milliseconds"]), f"{a_step:.2f}", _megabytes(each, "bytes"), compiling]
            rows.append(row)
    return [Table(title, ["T", "", "ms", "µs a time step", "MB", "compiled in s"], rows, tuple(notes))]


def _seeds(record: dict[str, Any]) -> list[Table]:
    times: Times = record["milliseconds"]
    relative = ratios(times, next(iter(times)))
    rows = [[name, spread(each), spread(relative[name])] for name, each in times.items()]
    return [Table(f"Runs trained together, {record['config']}", ["runs", "ms a step", "to the first row"], rows)]


def _layouts(record: dict[str, Any]) -> list[Table]:
    times: Times = record["milliseconds"]
    to_separate, to_one = ratios(times, "separate"), ratios(times, "one run")
    rows = [[name, spread(each), spread(to_separate[name]), spread(to_one[name])] for name, each in times.items()]
    headings = ["layout", "ms a step", "ratio to separate", "ratio to one run"]
    return [Table(f"Layouts of the run axis, {record['config']}", headings, rows)]


def _startup(record: dict[str, Any]) -> list[Table]:
    rows = [[name, spread(each)] for name, each in record["seconds"].items()]
    return [Table("Until something runs", ["", "s"], rows)]


def _megabytes(sizes: dict[str, Any], name: str) -> str:
    return f"{sizes[name] / 1e6:.1f}" if name in sizes else ""


def _origin(record: dict[str, Any]) -> str:
    """What, where and when, in a sentence or two."""
    environment, machine = record["environment"], record["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    device = environment["device"]
    return (
        f"`{record['command']}`\n\n{machine['processor']}, {machine['cores']} cores, load {machine['load']:.2f} at the "
        f"start; device {device['kind']} ({device['platform']}); Python {environment['python']}, {versions}; commit "
        f"{(environment['commit'] or 'unknown')[:9]}{' with changes' if environment['dirty'] else ''}; "
        f"{environment['started']}. Medians of {record['repeats']}, [least..most]."
    )


def _about_gpus(records: Sequence[tuple[str, dict[str, Any]]]) -> str:
    named = [name for name, record in records if record["environment"]["device"]["platform"] not in ("cpu", "tpu")]
    return f"From a GPU: {', '.join(named)}." if named else NO_GPU

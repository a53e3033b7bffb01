"""report.html: tables, figures and what it takes to run it all again, in one file that needs no other."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from seqjax.files import write_whole
from seqjax.report import curves, dynamics, flow, norms
from seqjax.report.figures import Figure
from seqjax.report.ranking import each_layer, ranking
from seqjax.report.records import Record, load, read_config
from seqjax.report.tables import swept, table
from seqjax.report.text import lay_out
from seqjax.types import UserError

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums }
th { text-align: left; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600 }
th, td { padding: .3rem .8rem .3rem 0 } td { border-bottom: 1px solid #ddd; vertical-align: top }
td.no-memory { color: #a03000 } .wide { overflow-x: auto }
code, pre { font-family: ui-monospace, monospace; font-size: .88em }
pre { background: #f4f4f4; padding: .7rem; white-space: pre-wrap }
figure { margin: 1rem 0 } img { width: 100%; height: auto } .notes, figcaption { color: #444; font-size: .9rem }
"""


def write_report(directory: str | Path) -> Path:
    """Make report.html in a run directory, and its figures as PNG files in its folder figures.

    Each file is written whole or not at all, and from the directory alone: made again, it is the same.

    Raises:
        UserError: the directory cannot be read, or written to.
    """
    directory = Path(directory)
    records = load(directory)
    figures = draw(records)
    path = directory / "report.html"
    try:
        (directory / "figures").mkdir(exist_ok=True)
        for figure in figures:
            write_whole(directory / "figures" / f"{figure.name}.png", figure.png)
        write_whole(path, page(directory, read_config(directory), records, figures))
    except OSError as error:
        raise UserError(f"cannot write the report in {str(directory)!r}: {error.strerror}") from error
    return path


def draw(records: Sequence[Record]) -> list[Figure]:
    """Every figure for which the records hold the numbers."""
    figures = (
        curves.learning_curves(records),
        curves.learning_rates(records),
        norms.over_time(records),
        norms.heat_map(records),
        dynamics.through_training(records),
    )
    return [figure for figure in figures if figure is not None] + flow.flow_figures(each_layer(records))


def page(directory: Path, config: dict[str, Any], records: Sequence[Record], figures: Sequence[Figure]) -> str:
    """The whole of report.html as text; every value in it is escaped."""
    cells = ", ".join(dict.fromkeys(record.cell for record in records))
    tasks = ", ".join(dict.fromkeys(record.task for record in records))
    title = escape(f"{cells} on {tasks}")
    parts = [f"<h1>{title}</h1>", f"<pre>{escape(str(config.get('command') or 'command not recorded'))}</pre>"]
    headings, rows = ranking(records)
    if rows:
        parts += ["<h2>Ranking</h2>", grid(headings, rows)]
    parts += ["<h2>Results</h2>", _table(records)]
    for figure in figures:
        parts += [f"<h2>{escape(figure.title)}</h2>", picture(figure)]
    if any(swept(record) for record in records):
        parts += ["<h2>Every learning rate</h2>", _table(records, every_rate=True)]
    parts += ["<h2>Every run</h2>", _runs(records)]
    parts += ["<h2>Programs</h2>", _programs(records)]
    parts += ["<h2>Environment</h2>", _environment(config, records)]
    parts += ["<h2>Settings</h2>", _settings(config)]
    parts += [
        "<h2>To make this report again</h2>",
        f"<pre>python -m experiments.report {escape(shlex.quote(str(directory)))}</pre>",
    ]
    return document(title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page of pieces of HTML; the title is escaped already."""
    body = "\n".join(parts)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>\n"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def picture(figure: Figure) -> str:
    """A figure within the page, and below it how to read it."""
    image = base64.b64encode(figure.png).decode()
    return (
        f"<figure><img alt='{escape(figure.title)}' src='data:image/png;base64,{image}'>"
        f"<figcaption>{escape(figure.explanation)}</figcaption></figure>"
    )


def _table(records: Sequence[Record], every_rate: bool = False) -> str:
    headings, body, notes = lay_out(table(records, every_rate))
    return grid(headings, body) + "".join(f"<p class='notes'>{escape(note)}</p>" for note in notes)


def grid(headings: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table; every cell is escaped."""

    def place(text: str) -> str:
        kind = " class='no-memory'" if "†" in text else ""
        return f"<td{kind}>{escape(text)}</td>"

    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    rows = "\n".join(f"<tr>{''.join(place(text) for text in row)}</tr>" for row in body)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"


def _runs(records: Sequence[Record]) -> str:
    """One row a seed, with nothing left out or averaged."""
    selects = any(run.selected_at is not None for record in records for run in record.runs)
    rows = []
    for record in records:
        for run in record.runs:
            first, *others = [probe.first_to_last for probe in run.probes] or [None]
            names = [record.cell, record.task, str(run.seed), _number(run.learning_rate or None), run.status]
            steps = [run.steps, run.solved_at] + [run.selected_at] * selects
            numbers = [run.loss, run.score, first, others[-1] if others else None]
            rows.append(names + ["-" if step is None else str(step) for step in steps] + list(map(_number, numbers)))
    headings = ["cell", "task", "seed", "learning rate", "status", "steps", "solved at"] + ["selected at"] * selects
    headings += ["loss", "score", "log10 gradient first/last, first probe", "last probe"]
    return grid(headings, rows)


def _programs(records: Sequence[Record]) -> str:
    """One row a program: how large, how long, and by which criterion it is solved."""
    rows = []
    for record in records:
        parameters = "-" if record.parameters is None else f"{record.parameters:,}"
        seeds = ", ".join(dict.fromkeys(str(run.seed) for run in record.runs))
        criterion = str(record.config["task"].get("criterion") or "-")
        seconds = "-" if record.wall_seconds is None else f"{record.wall_seconds:.1f}"
        rows.append([record.cell, record.task, parameters, seeds, _number(record.baseline), criterion, seconds])
    headings = ["cell", "task", "parameters", "seeds", "memoryless baseline", "solved when", "wall time (s)"]
    return grid(headings, rows)


def _environment(config: dict[str, Any], records: Sequence[Record]) -> str:
    there = config.get("environment") or records[0].config.get("environment") or {}
    device, versions = there.get("device") or {}, there.get("versions") or {}
    rows = [
        ["started", str(there.get("started") or "-")],
        ["commit", str(there.get("commit") or "not known") + " with changes not committed" * bool(there.get("dirty"))],
        ["device", f"{device.get('count', '?')} x {device.get('kind', '?')} ({device.get('platform', '?')})"],
        ["Python", str(there.get("python") or "-")],
        *([name, str(version or "not installed")] for name, version in versions.items()),
    ]
    return grid(["", ""], rows)


def _settings(config: dict[str, Any]) -> str:
    return grid(["setting", "value"], [[name, str(value)] for name, value in (config.get("config") or {}).items()])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"

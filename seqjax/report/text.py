"""The table as text: for a terminal, for Markdown, and for the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from seqjax.report.markdown import pipe_table
from seqjax.report.ranking import ranking
from seqjax.report.records import Record
from seqjax.report.tables import NO_MEMORY, Row, Spread, loss_words, short, swept, table
from seqjax.spec import Spec, parse
from seqjax.types import UserError

WORDS = ("cell", "task")  # columns that stand to the left


def common_task(records: Sequence[Record]) -> str | None:
    """The task without its length, where that is all in which the records' tasks differ."""
    found = set()
    for record in records:
        try:
            name, arguments = parse(record.task)
        except UserError:
            return None
        found.add(str(Spec(name, {k: v for k, v in arguments.items() if k != "length"})))
        if record.length is None:
            return None
    return found.pop() if len(found) == 1 else None


def _length(record: Record) -> int | None:
    """The length as it was typed, which a task may lengthen; else the number of time steps."""
    return parse(record.task).arguments.get("length", record.length)


def lay_out(rows: Sequence[Row]) -> tuple[list[str], list[list[str]], list[str]]:
    """Headings, the text of every row's places, and the notes that go below. Raises nothing."""
    records = [row.record for row in rows]
    trained = any(run.status != "untrained" for record in records for run in record.runs)
    several = any(swept(record) for record in records)
    common = common_task(records)
    columns = [("cell", [r.record.cell for r in rows])]
    columns += (
        [("length", [str(_length(r.record)) for r in rows])] if common else [("task", [r.record.task for r in rows])]
    )
    if several:
        columns.append(("learning rate", [f"{r.learning_rate:g}" + " (best)" * _one_of_many(r, rows) for r in rows]))
    if trained:
        columns += [
            ("solved", [_solved(r) for r in rows]),
            ("steps to solve", [str(r.steps_to_solve or "-") for r in rows]),
            (loss_words(records), [r.loss.text("†" * r.no_memory) if r.loss else "-" for r in rows]),
            ("baseline", ["-" if r.record.baseline is None else short(r.record.baseline) for r in rows]),
            ("score", [short(r.score.median) if r.score else "-" for r in rows]),
        ]
    columns.append(("log10 gradient at start", [_power(r.gradient_start) for r in rows]))
    if trained:
        columns.append(("log10 gradient at end", [_power(r.gradient_end) for r in rows]))
    headings = [heading for heading, _ in columns]
    return headings, [list(texts) for texts in zip(*(texts for _, texts in columns))], _notes(rows, trained, several)


def print_table(records: Sequence[Record], file: TextIO | None = None) -> None:
    """Write the table for a person: as wide as the terminal, or plain and 120 wide where there is none."""
    from rich.console import Console

    rows = table(records)
    console = Console(file=file or sys.stdout, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=console.file, width=120, markup=False, highlight=False, emoji=False)
    headings, ranked = ranking(records)
    if ranked:
        console.print(ranks(headings, ranked))
        return
    common = common_task(records)
    if common:
        console.print(f"task: {common.removesuffix('()')}")
    console.print(grid(rows, console.width))
    for note in lay_out(rows)[2]:
        console.print(note, style="dim")


def ranks(headings: Sequence[str], body: Sequence[Sequence[str]]) -> Any:
    """What gradient_flow measured as a rich Table, the cell that keeps most of its gradient first."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, justify="left" if heading in WORDS else "right", overflow="fold")
    for texts in body:
        shown.add_row(*texts)
    return shown


def grid(rows: Sequence[Row], width: int) -> Any:
    """The rows as a rich Table, bold where every seed solved.

    Where the terminal is too narrow a range breaks in its middle, and below 100 columns the score is left out.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    headings, body, _ = lay_out(rows)
    if width < 100 and "score" in headings:
        without = headings.index("score")
        headings, body = _less(headings, without), [_less(texts, without) for texts in body]
    gap = 1 if width < 100 else 2
    if sum(longest + gap for longest in _words(headings, body)) > width:
        body = [[text.replace("..", ".. ") for text in texts] for texts in body]
    shown = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for heading, room in zip(headings, _widths(headings, body, width - gap * len(headings))):
        shown.add_column(heading, justify="left" if heading in WORDS else "right", overflow="fold", width=room)
    for row, texts in zip(rows, body):
        shown.add_row(*texts, style="bold" if row.solved == row.seeds else None)
    return shown


def _widths(headings: Sequence[str], body: Sequence[Sequence[str]], room: int) -> list[int]:
    """Each column's width: of its longest word, then, from the left, of its longest text while there is room."""
    widths = _words(headings, body)
    spare = room - sum(widths)
    if spare < 0:
        return [max(8, width + spare) if heading in WORDS[:1] else width for heading, width in zip(headings, widths)]
    for n, column in enumerate(zip(headings, *body)):
        more = min(max(map(len, column)) - widths[n], spare)
        widths[n], spare = widths[n] + more, spare - more
    return widths


def _words(headings: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    """The length of each column's longest word."""
    return [max(len(word) for text in column for word in text.split()) for column in zip(headings, *body)]


def _less(texts: Sequence[str], without: int) -> list[str]:
    return [text for n, text in enumerate(texts) if n != without]


def markdown_table(records: Sequence[Record]) -> str:
    """The same table in Markdown, its notes below."""
    headings, body, notes = lay_out(table(records))
    wide = [n for n, heading in enumerate(headings) if heading in WORDS]
    rows = [[f"`{text}`" if n in wide else text for n, text in enumerate(texts)] for texts in body]
    lines = pipe_table(headings, rows, numbers=[n for n in range(len(headings)) if n not in wide])
    return "\n".join([*lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _solved(row: Row) -> str:
    ends = [f"{n} {word}" for n, word in ((row.diverged, "diverged"), (row.unfinished, "unfinished")) if n]
    return f"{row.solved}/{row.seeds}" + (f" ({', '.join(ends)})" if ends else "")


def _one_of_many(row: Row, rows: Sequence[Row]) -> bool:
    return row.best and sum(other.record is row.record for other in rows) > 1


def _notes(rows: Sequence[Row], trained: bool, several: bool) -> list[str]:
    notes = []
    words = loss_words(row.record for row in rows)
    selected = words == "selected loss"
    if any(row.seeds > 1 for row in rows):
        lost = "has what was selected before it diverged" if selected else "has no final value"
        notes.append("Median over seeds [least..greatest]" + f"; a diverged seed {lost}" * trained + ".")
    notes.append(
        "log10 gradient: of ‖∂L/∂carry‖ at the first time step relative to the last, mean over sequences; "
        "below 0 it vanishes on the way back, above 0 it grows; "
        "- where zero or not measured."
    )
    if any(row.no_memory for row in rows):
        notes.append(
            f"† {words} not below {NO_MEMORY:g} of the baseline, that of the best guess without memory: "
            "no sign of anything remembered."
        )
    if selected:
        notes.append("Loss and score: of the evaluation at which the loss of the split to select on was least.")
    if several:
        notes.append(
            "Best learning rate: where most seeds solved; then the lowest median of steps to solve, then of "
            + ("the loss of the split to select on." if selected else f"{words}.")
        )
    return notes + [f"Note: {note}." for note in dict.fromkeys(note for row in rows for note in row.record.notes)]


def _power(orders: Spread | None) -> str:
    return orders.text(form=".1f") if orders else "-"

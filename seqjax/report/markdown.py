"""A pipe table in Markdown."""

from collections.abc import Collection, Iterable, Sequence


def pipe_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[int] = ()) -> list[str]:
    """Its lines: headings, alignment, rows; a bar within a text is escaped.

    Args:
        headings: one a column.
        rows: of a text for each column.
        numbers: the columns that are aligned to the right.
    """
    alignment = ["--:" if column in numbers else "---" for column in range(len(headings))]
    escaped = ([text.replace("|", "\\|") for text in line] for line in (headings, alignment, *rows))
    return [f"| {' | '.join(line)} |" for line in escaped]

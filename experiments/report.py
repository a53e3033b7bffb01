"""Make the tables, figures and report.html of a run directory again, from the directory alone.

Example:
  python -m experiments.report runs/x
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from experiments import command_line
from seqjax.report import load, markdown_table, print_table, write_report

FLAGS = flags.FlagValues()
flags.DEFINE_boolean("markdown", False, "print the table as Markdown", flag_values=FLAGS)


def report(values: flags.FlagValues, directory: str | None, argv: list[str]) -> None:
    """The script's action."""
    show_report(Path(directory), values.markdown)


def show_report(directory: Path, markdown: bool = False) -> None:
    """Print the table of a run directory, write its report.html, and say where that is."""
    records = load(directory)
    if markdown:
        print(markdown_table(records))
    else:
        print_table(records, sys.stdout)
    print(f"report: {write_report(directory)}")


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(report, FLAGS, __doc__, argv, positional="RUN_DIR")


if __name__ == "__main__":
    sys.exit(main())

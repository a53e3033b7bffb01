"""From a run directory to tables, figures and report.html; nothing here needs the run itself."""

from seqjax.report.page import write_report
from seqjax.report.records import Evaluation, Probe, Record, Run, load
from seqjax.report.tables import Row, Spread, table
from seqjax.report.text import markdown_table, print_table

__all__ = [
    "Evaluation",
    "Probe",
    "Record",
    "Row",
    "Run",
    "Spread",
    "load",
    "markdown_table",
    "print_table",
    "table",
    "write_report",
]

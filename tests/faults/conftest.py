"""Faults: the quick tests run by default, all of them with --all-faults; --record-faults=FILE counts what was tried."""

import ast
import time
from collections import Counter
from pathlib import Path

import small

HERE = Path(__file__).parent


def pytest_addoption(parser):
    parser.addoption(
        "--all-faults", action="store_true", help="run the slow tests too, and try more of what is drawn at random"
    )
    parser.addoption("--record-faults", default=None, help="write the counts of this run to a file")


def pytest_configure(config):
    small.THOROUGH = config.getoption("--all-faults", default=False)
    if small.THOROUGH:
        config.option.markexpr = ""
    path = config.getoption("--record-faults", default=None)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counts(Path(path)))


class Counts:
    """What became of every test, and what they counted: of whole numbers the sum, of others the largest."""

    def __init__(self, path):
        self.path, self.began, self.reports = path, time.monotonic(), []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.reports.append(report)

    def pytest_sessionfinish(self):
        from experiments.backend import cores
        from seqjax.training.record import environment, write_json

        files = {}
        for path in sorted([*HERE.glob("test_*.py"), *(HERE.parent / "scale").glob("test_*.py")]):
            about = ast.get_docstring(ast.parse(path.read_text())).split("\n")[0]
            mine = [report for report in self.reports if Path(report.nodeid.split("::")[0]).name == path.name]
            counts = {}
            for name, value in (each for report in mine for each in report.user_properties):
                before = counts.get(name, 0)
                counts[name] = before + value if isinstance(value, int) else max(before, value)
            found = Counter(report.outcome for report in mine)
            files[path.stem] = {"about": about, "passed": found["passed"], "failed": found["failed"], "counts": counts}
        write_json(
            self.path,
            {
                "command": "make faults",
                "environment": environment() | {"cores": cores()},
                "seconds": round(time.monotonic() - self.began),
                "totals": {
                    outcome: sum(report.outcome == outcome for report in self.reports)
                    for outcome in ("passed", "failed", "skipped")
                },
                "failures": {_name(report): _last_line(report) for report in self.reports if report.failed},
                "skips": {_name(report): _last_line(report) for report in self.reports if report.skipped},
                "files": files,
            },
        )


def _name(report):
    return report.nodeid.split("/")[-1]


def _last_line(report):
    return str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr).splitlines()[-1][:200]

"""Which rows of the registry a command means, with which settings, and where their data are."""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
from pathlib import Path

from absl import flags

from seqjax import UserError, papers
from seqjax.papers.row import BUDGETS, DATA_SETS, MEASURES, SOURCES, Paper, Row
from seqjax.spec import did_you_mean
from seqjax.training import Config
from seqjax.training.mesh import read_mesh

SMOKE = {"steps": 20, "seeds": 1, "eval_every": 10, "eval_size": 16, "probe_every": 20, "checkpoint_every": 20}


def define_data_sets(flag_values: flags.FlagValues) -> None:
    """Define --data and --data_set."""
    words = "folder of the data sets that rows name as DATA/..."
    flags.DEFINE_string("data", "../shared/data", words, flag_values=flag_values)
    words = "NAME=PLACE: one of them is in another folder, or on the hub by that name"
    flags.DEFINE_multi_string("data_set", [], words, flag_values=flag_values)


def registry() -> dict[str, Paper]:
    """Every paper of seqjax/papers by its file's name, its rows with the defaults of what they do not name."""
    names = sorted(found.name for found in pkgutil.iter_modules(papers.__path__) if found.name != "row")
    known = {name: importlib.import_module(f"seqjax.papers.{name}").PAPER for name in names}
    return {name: paper._replace(rows=tuple(map(_with_defaults, paper.rows))) for name, paper in known.items()}


def _with_defaults(row: Row) -> Row:
    return row._replace(defaults=Config._field_defaults)


def choose(known: dict[str, Paper], paper: str | None, pattern: str) -> list[tuple[str, Row]]:
    """The rows of one paper or of all whose names match. Raises UserError listing what there is, or of one that says
    what it cannot mean, before anything is trained for it."""
    if paper is not None and paper not in known:
        raise UserError(f"--paper={paper!r}{did_you_mean(paper, list(known))}papers: {', '.join(known)}")
    rows = [(name, row) for name in ([paper] if paper else known) for row in known[name].rows]
    found = [(name, row) for name, row in rows if fnmatch.fnmatch(row.name, pattern)]
    if not found:
        raise UserError(f"--rows={pattern!r} matches none of: {', '.join(row.name for _, row in rows)}")
    for name, row in found:
        if fault := _fault(row):
            raise UserError(f"seqjax/papers/{name}: row {row.name!r}: {fault}")
    return found


def _fault(row: Row) -> str | None:
    """What a row says that it cannot mean; None of a sound one."""
    fields = [name for name in Config._fields if name not in ("cell", "task")]
    for name in (*row.settings, *row.cpu):
        if name not in fields:
            return f"settings have {name!r}{did_you_mean(name, fields)}fields: {', '.join(fields)}"
        if name not in row.settings:
            return f"cpu cuts {name!r}, which its settings do not name"
    if not isinstance(rates := row.settings.get("learning_rates"), tuple):
        return f"settings have learning_rates={rates!r}; expected a tuple, the grid"
    for name, known in (("measure", MEASURES), ("source", SOURCES)):
        if getattr(row, name) not in known:
            return f"{name}={getattr(row, name)!r}; expected one of {', '.join(known)}"
    if row.measure in ("grade", "errors") and row.grade is None:
        return f"measure={row.measure!r} and no grade; expected which of the task's"
    if row.data_set not in (None, *DATA_SETS):
        return f"DATA/{row.data_set}; expected one of DATA_SETS in seqjax/papers/row.py, which says where it is from"
    return None


def require_budget(budget: str) -> None:
    """Raise UserError unless it is one."""
    if budget not in BUDGETS:
        raise UserError(f"--budget={budget!r}{did_you_mean(budget, BUDGETS)}budgets: {', '.join(BUDGETS)}")


def config_of(row: Row, budget: str, place: str | None = None, seeds: int | None = None) -> Config:
    """The Config of a row at a budget, with the place of its data set."""
    settings = row.settings_at(budget)
    if budget == "smoke":
        settings |= SMOKE | {"learning_rates": row.settings["learning_rates"][:1]}
    if seeds is not None:
        settings["seeds"] = seeds
    return Config(cell=row.cell, task=row.task_on(place), **settings)


def place_of(row: Row, values: flags.FlagValues) -> str | None:
    """Where a row's data set is: where --data_set says, or else under --data; None of a row without one."""
    own = {}
    for given in values.data_set:
        name, equals, place = given.partition("=")
        if not equals or name not in DATA_SETS:
            hint = "; " if name in DATA_SETS else did_you_mean(name, list(DATA_SETS))
            raise UserError(f"--data_set={given!r}{hint}expected NAME=PLACE; names: {', '.join(DATA_SETS)}")
        own[name] = place
    return row.data_set and own.get(row.data_set, f"{values.data}/{row.data_set}")


def budget_of(row: Row, values: flags.FlagValues) -> str:
    """The budget by the flags; of a row that fits two cores whole, 'cpu' is 'full'."""
    return "full" if values.budget == "cpu" and not row.cpu else values.budget


def config_asked(row: Row, values: flags.FlagValues) -> Config:
    """The Config of a row by the flags: --budget, --seeds, and where the data are."""
    return config_of(row, budget_of(row, values), place_of(row, values), values.seeds)


def several_runs(values: flags.FlagValues, paper: str | None) -> bool:
    """Whether cores are shared out: among the several runs of any row that --rows and --budget mean, or by --mesh."""
    chosen = choose(registry(), paper, values.rows)
    split = read_mesh(values.mesh).data or 1
    return split > 1 or any(len(config_asked(row, values).runs) > 1 for _, row in chosen)


def missing(row: Row, values: flags.FlagValues) -> str | None:
    """Why the row cannot be run here: its data are not at hand; else None. What --data_set names may be on the hub."""
    place = place_of(row, values)
    if place is None or Path(place).exists() or f"{row.data_set}={place}" in values.data_set:
        return None
    return f"data not at hand: {place}"


def require_some_at_hand(chosen: list[tuple[str, Row]], values: flags.FlagValues) -> None:
    """Raise UserError where none of the rows can be run here."""
    if all(missing(row, values) for _, row in chosen):
        raise UserError("no row was run, as none of those that were asked for has its data at hand")


def directory_of(name: str, row: Row, values: flags.FlagValues) -> Path:
    """The run directory of a row at a budget."""
    return Path(values.workdir) / name / f"{row.name}-{budget_of(row, values)}"

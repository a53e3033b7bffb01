"""Cells x tasks x lengths: one program for each, trained one after the other in one directory."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from absl import flags

from experiments import command_line
from experiments.launch import Launch, mesh_here, read_launch, require_none_died, train_apart
from experiments.preemption import preemptible
from experiments.progress import progress_bar
from experiments.report import show_report
from seqjax import UserError, data, spec, tasks
from seqjax import cells as known_cells
from seqjax.training import Config, Prepared, prepare, train
from seqjax.training.lock import hold
from seqjax.training.processes import by_first, is_first
from seqjax.training.record import create, environment


def define_cells(flag_values: flags.FlagValues) -> None:
    """Define --cells."""
    cells = "rnn(hidden=64);lstm(hidden=64)"
    flags.DEFINE_string("cells", cells, "specs of cells, separated by ';'", flag_values=flag_values)


def define_tasks(flag_values: flags.FlagValues, default_lengths: str) -> None:
    """Define --task and --lengths."""
    flags.DEFINE_string("task", "adding", "specs of tasks, separated by ';'", flag_values=flag_values)
    words = f"lengths for tasks whose spec has none [{default_lengths}]"
    flags.DEFINE_list("lengths", None, words, flag_values=flag_values)


def run(
    kind: str,
    values: flags.FlagValues,
    argv: list[str],
    cells: Sequence[str],
    default_lengths: Sequence[int],
    after: Callable[[Prepared, Path, Callable[[int, str], None]], None] | None = None,
    **settings: object,
) -> None:
    """Prepare everything, so that no mistake shows late; train each program; report on all.

    Args:
        kind: the script's name, which is the directory's kind.
        values: the flags.
        argv: the arguments as typed.
        cells: their specs.
        default_lengths: for tasks that take a length and got none.
        after: what to do once a program has been trained, with it, its directory, and what tells the progress.
        **settings: fields of Config that are not flags of the script.

    Raises:
        UserError: a cell or a task twice, as is a change to a cell that changes nothing.
    """
    workdir = command_line.workdir_from(values, kind)
    task_specs = with_lengths(values.task, values.lengths, default_lengths)
    programs = prepare_grid(
        cells,
        task_specs,
        lambda **named: command_line.config_from(values, **settings, **named),
        mesh_here(values),
    )
    _require_different(cells, [known_cells])
    _require_different(task_specs, [tasks, data])
    command = command_line.command(kind, argv)
    configs = {name: prepared.config._asdict() for name, prepared in programs.items()}
    description = {"kind": kind, "command": command, "config": configs, "environment": environment()}
    steps = [prepared.config.steps for prepared in programs.values()]
    launch = read_launch(values.launch) if "launch" in values and values.launch else None
    if launch is not None and not all(steps):
        raise UserError(f"--steps={min(steps)} with --launch; expected at least 1, as a job trains")
    with contextlib.ExitStack() as held:

        def begin() -> None:
            held.enter_context(hold(workdir))
            create(workdir, description, values.resume or launch is not None)

        by_first(begin)
        if launch is not None:
            _launch(launch, workdir, programs, values, command)
            return
        stopping = held.enter_context(preemptible(kind, argv, workdir, any(steps)))
        show = held.enter_context(progress_bar(sum(steps)))
        for number, (name, prepared) in enumerate(programs.items()):
            what, before = f"{prepared.config.cell} {prepared.config.task}", sum(steps[:number])
            tell = functools.partial(_tell, show, what, before)
            train(prepared, workdir / name, command=command, resume=values.resume, progress=tell, stopping=stopping)
            if after is not None and is_first():
                after(prepared, workdir / name, tell)


def _require_different(given: Sequence[str], rooms: Sequence[ModuleType]) -> None:
    """Raise UserError where two specs come to the same, defaults and all."""
    whole = [_filled(spec.parse(each), rooms) for each in given]
    for number, each in enumerate(given):
        first = whole.index(whole[number])
        if first < number:
            same = "there twice" if given[first] == each else f"the same as {given[first]!r}"
            raise UserError(f"{each!r} is {same}; expected each cell and each task once")


def _filled(one: spec.Spec, rooms: Sequence[ModuleType]) -> spec.Spec:
    """With the defaults of the arguments that it leaves out."""
    parameters = inspect.signature(spec.factory(one.name, rooms)).parameters
    return one._replace(arguments={name: each.default for name, each in parameters.items()} | one.arguments)


def _tell(show: Callable[[int, str, str], None], what: str, before: int, step: int, words: str) -> None:
    show(before + step, what, words)


def _launch(
    launch: Launch, workdir: Path, programs: dict[str, Prepared], values: flags.FlagValues, command: str
) -> None:
    """Each program that is not finished as a job; a report of all that there is."""
    places = {name: (prepared.config, workdir / name) for name, prepared in programs.items()}
    died = train_apart(launch, workdir / "jobs", places, values, command)
    if len(died) < len(programs):
        show_report(workdir)
    require_none_died(died, len(programs))


def with_lengths(task: str, lengths: Sequence[str] | None, default: Sequence[int]) -> list[str]:
    """The specs of --task, each at every one of --lengths.

    A length in the spec stands; --lengths is for specs without one. Where neither gives a length,
    the default ones are taken, if the task takes a length at all.

    Raises:
        UserError: the spec and --lengths both give lengths, or the task takes none; --lengths gives none.
    """
    try:
        wanted = None if lengths is None else [int(length) for length in lengths]
    except ValueError as error:
        raise UserError(f"--lengths={','.join(lengths)}; expected whole numbers, as in 50,100") from error
    if lengths == []:
        raise UserError("--lengths= is empty; expected whole numbers, as in 50,100")
    found = []
    with spec.prefixed(f"--task={task!r}"):
        for each in spec.split(task):
            takes = spec.accepts(each, [tasks, data], "length")
            if wanted is not None and ("length" in each.arguments or not takes):
                reason = "gives its length itself" if takes else "takes no length"
                raise UserError(f"{each.name} {reason}; leave out --lengths")
            if "length" in each.arguments or not takes:
                found.append(str(each))
            else:
                for length in default if wanted is None else wanted:
                    found.append(str(spec.Spec(each.name, {**each.arguments, "length": length})))
    return found


def specs(flag: str, text: str) -> list[str]:
    """The specs of a flag, separated by ';'; errors begin with the flag."""
    with spec.prefixed(f"{flag}={text!r}"):
        return [str(each) for each in spec.split(text)]


def prepare_grid(
    cell_specs: Sequence[str], task_specs: Sequence[str], make_config: Callable[..., Config], mesh: str
) -> dict[str, Prepared]:
    """Every cell on every task, ready to train, by the name of its run directory."""
    prepared = {}
    for task in task_specs:
        for cell in cell_specs:
            name = f"{len(prepared):02d}_{_file_name(cell)}__{_file_name(task)}"
            prepared[name] = prepare(make_config(cell=cell, task=task), mesh)
    return prepared


def _file_name(text: str) -> str:
    """'adding(length=50)' -> 'adding-length-50', cut to a length that every file system takes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")[:60]

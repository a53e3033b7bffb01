"""A run directory read back: what was run, every evaluation, every gradient norm, and how each run ended."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from seqjax.types import UserError

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError, RecursionError)


class Evaluation(NamedTuple):
    """One line of metrics.jsonl; None where a value was not finite."""

    step: int
    train_loss: float | None
    loss: float | None
    score: float | None
    grad_norm: float | None
    selection_loss: float | None = None


class Probe(NamedTuple):
    """One line of gradients.jsonl.

    log10_norm:      'carry', 'layer_0/h' ... -> log10 ‖dL/d carry_t‖ [T], nan where zero or not finite
    first_to_last:   log10 of the norm at the first step relative to that at the last valid one
    gates:           'layer_0/forget_gate' ... -> its mean, and the shares below .1 and above .9
    spectral_radius: 'layer_0/w_h' ... -> that of each square block
    exponent:        'layer_0' ... -> the maximal Lyapunov exponent [1]; nan where not finite
    """

    step: int
    log10_norm: dict[str, np.ndarray]
    first_to_last: float | None
    gates: Mapping[str, np.ndarray] = MappingProxyType({})
    spectral_radius: Mapping[str, np.ndarray] = MappingProxyType({})
    exponent: Mapping[str, np.ndarray] = MappingProxyType({})


class Run(NamedTuple):
    """One seed at one learning rate; status is 'solved', 'unsolved', 'diverged', 'unfinished' or 'untrained'.

    With a split to select on, loss and score are those of the step selected_at, where its loss was selection_loss.
    """

    seed: int
    learning_rate: float
    status: str
    steps: int
    solved_at: int | None
    diverged_at: int | None
    loss: float | None
    score: float | None
    evaluations: tuple[Evaluation, ...]
    probes: tuple[Probe, ...]
    selection_loss: float | None = None
    selected_at: int | None = None


class Record(NamedTuple):
    """One program: a cell on a task, or on two where another is measured. `config` is the whole of config.json."""

    directory: Path
    cell: str
    task: str
    length: int | None
    baseline: float | None
    runs: tuple[Run, ...]
    parameters: int | None
    wall_seconds: float | None
    config: dict[str, Any]
    notes: tuple[str, ...]
    flow: Mapping[str, Any] = MappingProxyType({})  # what experiments.gradient_flow measured, by layer
    optimum: float | None = None  # loss of the best predictor there can be, where it is known


def load(directory: str | Path) -> list[Record]:
    """The records of a run directory, or of all those in a benchmark or gradient_norms directory.

    Raises:
        UserError: nothing there to read, or a file of another form (its name and line are told).
    """
    directory = Path(directory)
    config = read_config(directory)
    trained = config.get("kind") != "gradient_norms"
    if "runs" in config:
        return [_read(directory, config, trained)]
    folders = [path.parent for path in directory.glob("*/config.json")]
    if not folders:
        raise UserError(f"{str(directory)!r} holds no run yet; expected folders with a config.json")
    folders.sort(key=lambda folder: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", folder.name)])
    return [_read(folder, read_config(folder), trained) for folder in folders]


def read_config(directory: str | Path) -> dict[str, Any]:
    """The config.json of a directory. Raises UserError where there is none that can be read."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        lacks = "has no config.json" if path.parent.is_dir() else "is no directory"
        raise UserError(f"{str(directory)!r} {lacks}; expected a run directory, as experiments.train writes it")
    return _json(path)


def _read(directory: Path, config: dict[str, Any], trained: bool) -> Record:
    path = directory / "config.json"
    try:
        trained = trained and config["config"].get("steps") != 0
        given, task = config["runs"], config["task"]
        names = {"cell": str(config["config"]["cell"]), "task": str(config["config"]["task"])}
        if other := config["config"].get("eval_task"):
            names["task"] += f", measured on {other}"
        numbers = {"length": _whole(task.get("length")), "baseline": _number(task.get("baseline"))}
        numbers["optimum"] = _number(task.get("optimum"))
        seeds = [(int(run["seed"]), float(run.get("learning_rate") or 0)) for run in given]
        parameters = _whole(config.get("parameters"))
        if not seeds:
            raise ValueError("no runs")
    except MALFORMED as error:
        raise UserError(f"{path}: not the configuration of a run ({_words(error)})") from error
    evaluations, note = _lines(directory / "metrics.jsonl", len(seeds), _evaluation)
    probes, note_too = _lines(directory / "gradients.jsonl", len(seeds), _probe)
    _same_length(directory / "gradients.jsonl", probes)
    ends: dict[str, Any] = {}
    if (directory / "result.json").is_file():
        ends = _json(directory / "result.json")
        outcomes = ends.get("runs", [])
        count = len(outcomes) if isinstance(outcomes, list) else 0
        if count != len(seeds):
            raise UserError(f"{directory / 'result.json'}: {count} runs; expected {len(seeds)}")
    try:
        runs = tuple(
            _run(seed, rate, ends["runs"][n] if ends else None, evaluations[n], probes[n], trained)
            for n, (seed, rate) in enumerate(seeds)
        )
        seconds = _number(ends.get("wall_seconds"))
    except MALFORMED as error:
        raise UserError(f"{directory / 'result.json'}: not the result of a run ({_words(error)})") from error
    notes = [text for text in (note, note_too) if text]
    if trained and not ends:
        last = max(run.steps for run in runs)
        notes.append(f"{names['cell']} on {names['task']}: unfinished, last evaluated at step {last}")
    flow = _json(directory / "flow.json") if (directory / "flow.json").is_file() else {}
    return Record(directory, **names, **numbers, runs=runs, parameters=parameters,
                  wall_seconds=seconds, config=config, notes=tuple(notes), flow=flow)  # fmt: skip


def _run(
    seed: int,
    rate: float,
    end: dict[str, Any] | None,
    evaluations: tuple[Evaluation, ...],
    probes: tuple[Probe, ...],
    trained: bool,
) -> Run:
    if end is not None:
        at = [_whole(end.get(name)) for name in ("solved_at", "diverged_at")]
        return Run(seed, rate, str(end["status"]), int(end["steps"]), *at,
                   _number(end["loss"]), _number(end["score"]), evaluations, probes,
                   _number(end.get("selection_loss")), _whole(end.get("selected_at")))  # fmt: skip
    last = evaluations[-1] if evaluations else Evaluation(0, None, None, None, None)
    selecting = [each for each in evaluations if each.selection_loss is not None]
    chosen = min(selecting, key=lambda each: each.selection_loss, default=last)
    status = "unfinished" if trained else "untrained"
    return Run(seed, rate, status, last.step, None, None, chosen.loss, chosen.score, evaluations, probes,
               chosen.selection_loss, chosen.step if selecting else None)  # fmt: skip


def _evaluation(line: dict[str, Any]) -> Evaluation:
    return Evaluation(int(line["step"]), *(_number(line.get(name)) for name in Evaluation._fields[1:]))


def _probe(line: dict[str, Any]) -> Probe:
    others = [_arrays(line.get(name, {})) for name in Probe._fields[3:]]
    return Probe(int(line["step"]), _arrays(line["log10_norm"]), _number(line.get("first_to_last")), *others)


def _arrays(named: dict[str, Any]) -> dict[str, np.ndarray]:
    """name -> its numbers [n], nan in the place of what is not finite."""
    found = {
        name: np.array([np.nan if v is None else v for v in (values if isinstance(values, list) else [values])], float)
        for name, values in named.items()
    }
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in found.items()}


def _lines(path: Path, runs: int, read: Callable[[dict[str, Any]], Any]) -> tuple[list[tuple[Any, ...]], str | None]:
    """What each run's lines hold, by step, and a note if a kill cut the last line short.

    Where a step is told twice, by a run that was resumed, the later line counts.
    """
    found: list[dict[int, Any]] = [{} for _ in range(runs)]
    note = None
    lines = _text(path).split("\n") if path.is_file() else [""]
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not 0 <= record["run"] < runs:
                raise ValueError(f"run {record['run']} of {runs}")
            found[record["run"]][int(record["step"])] = read(record)
        except MALFORMED as error:
            if number < len(lines):  # else no line end comes after it: the writer was stopped
                raise UserError(f"{path}, line {number}: not a record ({_words(error)})") from error
            note = f"{path.parent.name}/{path.name}: the last line is cut short and left out"
    return [tuple(record for _, record in sorted(steps.items())) for steps in found], note


def _same_length(path: Path, probes: list[tuple[Probe, ...]]) -> None:
    lengths = {len(values) for run in probes for probe in run for values in probe.log10_norm.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise UserError(f"{path}: norms of {sorted(lengths)} time steps; expected one length, at least 1")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object; expected {{...}}")
    return content


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _whole(value: int | None) -> int | None:
    return None if value is None else int(value)


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _words(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]

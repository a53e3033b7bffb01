"""Time what is here against what a user would pick instead, interleaved in one process, as ratios.

--what=layers:  this project's strategies, a hand-written lax.scan, flax.linen, haiku, equinox and
                torch, on one layer and the same weights: forward pass, gradient of the sum of
                squares, and that with the gradient of every carry. First their numbers are compared.
--what=layouts: the layouts of the run axis against separate runs, training the same runs.

Every repetition times each once; medians and ranges are printed.

Examples:
  python -m experiments.speed --what=layers --layer=gru --sizes='200,32,2,128;35,20,200,200'
  python -m experiments.speed --what=layouts --cell='lstm(hidden=64)' --task='adding(length=100)' --runs=8
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import command_line, peers
from experiments.layouts import layout_times
from experiments.timing import Times, interleaved, ratios, spread
from seqjax import UserError
from seqjax.training.record import environment, write_json

SIZES = "200,32,2,128;784,32,1,128;100,64,256,512;1000,1,10,128;35,20,200,200"
KINDS = ("forward", "gradient", "probe")

FLAGS = flags.FlagValues()
command_line.define_config(FLAGS, ["cell", "task", "batch_size"], cell="lstm(hidden=64)", task="adding(length=100)")
flags.DEFINE_enum("what", "layouts", ["layouts", "layers"], "what to time: layouts or layers", flag_values=FLAGS)
flags.DEFINE_integer("runs", 8, "layouts: runs on the axis", flag_values=FLAGS)
flags.DEFINE_integer("train_steps", 20, "layouts: steps timed at a time", flag_values=FLAGS)
flags.DEFINE_list("layouts", ["sharded", "map", "vmap"], "layouts: those to time", flag_values=FLAGS)
flags.DEFINE_enum("layer", "lstm", list(peers.CELLS), "layers: lstm or gru", flag_values=FLAGS)
flags.DEFINE_string("sizes", SIZES, "layers: sizes T,B,D,H with semicolons between", flag_values=FLAGS)
flags.DEFINE_list("only", [], "layers: those whose names begin so; all if empty", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "times each is timed", flag_values=FLAGS)
flags.DEFINE_string("record", None, "file to write the times to, as JSON", flag_values=FLAGS)


def speed(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Time, and print the ratios."""
    found = layers(values) if values.what == "layers" else layouts(values)
    record = {"command": command_line.command("speed", argv), "environment": environment(), **found}
    if values.record:
        write_json(Path(values.record), record)
    else:
        print(json.dumps(record["environment"]["device"]))


def layouts(values: flags.FlagValues) -> dict[str, Any]:
    """The layouts' table, and their times for the record."""
    config = command_line.config_from(values, seeds=values.runs, eval_size=1)
    with command_line.progress_bar(values.repeats * (len(values.layouts) + 2)) as show:
        times = layout_times(config, values.runs, values.layouts, values.train_steps, values.repeats, show)
    table = Table("layout", "ms a step", "ratio to separate", "ratio to one run")
    to_separate, to_one = ratios(times, "separate"), ratios(times, "one run")
    for name, each in times.items():
        table.add_row(name, spread(each), spread(to_separate[name]), spread(to_one[name]))
    _print(table)
    return {"milliseconds": times}


def layers(values: flags.FlagValues) -> dict[str, Any]:
    """A table for each size, and all times for the record."""
    record = {}
    for size in _sizes(values.sizes):
        given = peers.problem(values.layer, size)
        everyone = {
            name: way
            for name, way in peers.ways(given).items()
            if not values.only or name.startswith(tuple(values.only))
        }
        there = {name: way for name, way in everyone.items() if isinstance(way, peers.Way)}
        if not there:
            raise UserError(f"--only={','.join(values.only)}; expected names of {', '.join(peers.ways(given))}")
        _require_agreement(there)
        calls = {
            f"{name}: {kind}": getattr(way, kind) for name, way in there.items() for kind in KINDS if getattr(way, kind)
        }
        with command_line.progress_bar(values.repeats * len(calls)) as show:
            found = interleaved(calls, values.repeats, show)
        times = {
            kind: {name: found[f"{name}: {kind}"] for name in there if f"{name}: {kind}" in found} for kind in KINDS
        }
        label = ",".join(map(str, size))
        _print(_layer_table(f"{values.layer} T,B,D,H = {label}", everyone, times))
        record[label] = {
            "milliseconds": times,
            "missing": {name: why for name, why in everyone.items() if name not in there},
            "bytes": {name: way.memory for name, way in there.items() if way.memory},
        }
    return {"layer": values.layer, "sizes": record}


def _layer_table(title: str, everyone: dict[str, peers.Way | str], times: dict[str, Times]) -> Table:
    """Times with the ratio to the fastest that is not ours, and what the probe costs on top of the gradient."""
    table = Table("", "forward ms", "to peer", "gradient ms", "to peer", "probe to gradient", "its memory", title=title)
    relative = {}
    for kind in ("forward", "gradient"):
        theirs = {name: statistics.median(each) for name, each in times[kind].items() if not name.startswith("seqjax")}
        relative[kind] = ratios(times[kind], min(theirs, key=theirs.get)) if theirs else {}
    for name, way in everyone.items():
        if isinstance(way, str):
            table.add_row(name, way)
            continue
        row = [name]
        for kind in ("forward", "gradient"):
            row += [spread(times[kind][name]), spread(relative[kind][name]) if relative[kind] else ""]
        if way.probe:
            dearer = [probe / gradient for probe, gradient in zip(times["probe"][name], times["gradient"][name])]
            row += [spread(dearer), f"{way.memory[1] / way.memory[0]:.2f}"]
        table.add_row(*row)
    return table


def _require_agreement(there: dict[str, peers.Way]) -> None:
    """That all give the same outputs and gradients, to float32's precision over many steps."""
    (first, reference), *others = there.items()
    expected = reference.forward(), reference.gradient()
    for name, way in others:
        for ours, theirs in zip(jax.tree.leaves(expected), jax.tree.leaves((way.forward(), way.gradient()))):
            ours, theirs = np.asarray(ours), np.asarray(theirs)
            off = np.abs(ours - theirs).max() / (np.abs(ours).max() + 1e-30)
            if not off < 1e-3:
                raise UserError(f"{name} and {first} disagree by {off:.1e}; nothing was timed")


def _sizes(words: str) -> list[tuple[int, ...]]:
    try:
        sizes = [tuple(int(number) for number in size.split(",")) for size in words.split(";")]
        if any(len(size) != 4 or min(size) < 1 for size in sizes):
            raise ValueError
    except ValueError as error:
        raise UserError(f"--sizes={words!r}; expected T,B,D,H of whole numbers from 1, as in {SIZES!r}") from error
    return sizes


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(speed, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Time the layouts of the run axis against separate runs, interleaved in one process, as ratios.

One program trains all runs for some steps in each layout; 'separate' trains them one by one with
the program of a single run. Every repetition times each once; the medians and ranges are printed.

Example:
  python -m experiments.speed --cell='lstm(hidden=64)' --task='adding(length=100)' --runs=8
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
from absl import flags
from rich.console import Console
from rich.table import Table

from experiments import command_line
from seqjax.training import Config, prepare
from seqjax.training.loop import initialize
from seqjax.training.record import environment, write_json

FLAGS = flags.FlagValues()
command_line.define_config(FLAGS, ["cell", "task", "batch_size"], cell="lstm(hidden=64)", task="adding(length=100)")
flags.DEFINE_integer("runs", 8, "runs on the axis", flag_values=FLAGS)
flags.DEFINE_integer("train_steps", 20, "steps timed at a time", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "times each is timed", flag_values=FLAGS)
flags.DEFINE_list("layouts", ["sharded", "map", "vmap"], "layouts to time", flag_values=FLAGS)
flags.DEFINE_string("record", None, "file to write the times to, as JSON", flag_values=FLAGS)


def speed(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Time, and print the ratios."""
    config = command_line.config_from(values, seeds=values.runs, eval_size=1)
    ways = {layout: _timed(config, layout, values.train_steps) for layout in values.layouts}
    one = _timed(config._replace(seeds=1), "map", values.train_steps)
    ways["separate"] = lambda: sum(one() for _ in range(values.runs))
    ways["one run"] = one
    times: dict[str, list[float]] = {name: [] for name in ways}
    with command_line.progress_bar(values.repeats * len(ways)) as show:
        for _ in range(values.repeats):
            for name, way in ways.items():
                times[name].append(way())
                show(sum(map(len, times.values())), name, "")
    table = Table("layout", "ms a step", "ratio to separate", "ratio to one run")
    record = {"command": command_line.command("speed", argv), "environment": environment(), "milliseconds": {}}
    for name, each in times.items():
        milliseconds = [1e3 * seconds / values.train_steps for seconds in each]
        record["milliseconds"][name] = milliseconds
        ratios = [_spread([a / b for a, b in zip(each, times[peer])]) for peer in ("separate", "one run")]
        table.add_row(name, _spread(milliseconds), *ratios)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if values.record:
        write_json(Path(values.record), record)
    else:
        print(json.dumps(record["environment"]["device"]))


def _timed(config: Config, layout: str, steps: int) -> Callable[[], float]:
    """Seconds for so many steps of all runs, compiled and warmed up."""
    prepared = prepare(config, layout)
    state = initialize(prepared)
    chunk = prepared.layout.over(prepared.program.chunk)

    def once() -> float:
        start = time.perf_counter()
        chunk(state, jnp.asarray(steps, jnp.int32), prepared.program.data)[0].step.block_until_ready()
        return time.perf_counter() - start

    once()
    return once


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}..{max(values):.2f}]"


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(speed, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

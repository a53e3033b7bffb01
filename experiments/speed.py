"""Time what is here against what a user would pick instead, interleaved in one process, as ratios.

--what=layers:  this project's strategies, a hand-written lax.scan, flax.linen, haiku, equinox,
                torch and FlashRNN, on one layer and the same weights: forward pass, gradient of the sum of
                squares, that with Adam's update, the same where one program makes 4 of them as
                in training, and the gradient with that of every carry. Beside them the matrix
                products alone. First their numbers are compared.
--what=growth:  the gradient by length, as far as --budget seconds go.
--what=seeds:   a training step by the number of runs that are trained together.
--what=layouts: the layouts of the run axis against separate runs, training the same runs.
--what=startup: imports, compilation by length and depth, and the second start of an experiment.
--what=page:    no times; docs/speed.md and its figure from the records in results/speed.

Every repetition times each once; medians and ranges are printed.

Examples:
  python -m experiments.speed --what=layers --layer=gru --sizes='200,32,2,128;35,20,200,200'
  python -m experiments.speed --what=layouts --cell='lstm(hidden=64)' --task='adding(length=100)' --runs=8
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import rich.table
from absl import flags
from rich.console import Console

from experiments import backend, command_line, growth, peers, record_file, speed_page, startup, ways
from experiments.layouts import MESHES, layout_times
from experiments.pages import ROOT, Table
from experiments.progress import progress_bar
from experiments.timing import interleaved
from seqjax import UserError
from seqjax.training import Config

SIZES = "200,32,2,128;784,32,1,128;100,64,256,512;1000,1,10,128;35,20,200,200"

FLAGS = flags.FlagValues()
command_line.define_config(FLAGS, ["cell", "task", "batch_size"], cell="lstm(hidden=64)", task="adding(length=100)")
flags.DEFINE_enum(
    "what",
    "layouts",
    ["layers", "growth", "seeds", "layouts", "startup", "page"],
    "what to time: layers, growth, seeds, layouts or startup; page times nothing",
    flag_values=FLAGS,
)
flags.DEFINE_integer("runs", 8, "layouts: runs on the axis; seeds: at most, from 1 by doubling", flag_values=FLAGS)
flags.DEFINE_integer("train_steps", 20, "layouts, seeds: steps timed at a time", flag_values=FLAGS)
flags.DEFINE_list("layouts", ["sharded", "map", "vmap"], f"layouts: those of {', '.join(MESHES)}", flag_values=FLAGS)
flags.DEFINE_enum("layer", "lstm", list(ways.CELLS), "layers, growth: the cell", flag_values=FLAGS)
flags.DEFINE_string("sizes", SIZES, "layers: sizes T,B,D,H with semicolons between", flag_values=FLAGS)
flags.DEFINE_list("lengths", ["100", "1000", "10000", "100000"], "growth: T, ascending", flag_values=FLAGS)
flags.DEFINE_string("growing", "8,2,64", "growth: B,D,H", flag_values=FLAGS)
flags.DEFINE_float("budget", 300.0, "growth: seconds for all lengths together", flag_values=FLAGS)
# Left out unless asked for: Newton's method takes minutes to compile and to run at these widths.
USUAL = ["seqjax scan", "seqjax fused", "seqjax checkpointed", *peers.LAYERS, "torch", "FlashRNN", ways.PRODUCTS]
flags.DEFINE_list("only", USUAL, "layers, growth: those whose names begin so; all if empty", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "times each is timed", flag_values=FLAGS)
record_file.define_record(FLAGS)


def speed(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Time, print the ratios, and keep the record where asked to."""
    if values.what == "page":
        speed_page.update(ROOT / "docs" / "speed.md", ROOT / "results" / "speed")
        return
    for name in ("repeats", "train_steps", "runs"):
        if values[name].value < 1:
            raise UserError(f"--{name}={values[name].value}; expected at least 1")
    record_file.require_place(values)
    if values.what in ("layers", "growth"):
        backend.a_device_each_core()  # for the way that splits the batch; the others run on the first
    measure = {"layers": layers, "growth": grown, "seeds": seeds, "layouts": layouts, "startup": started}[values.what]
    record = {"what": values.what, "repeats": values.repeats} | record_file.circumstances("speed", argv)
    record |= measure(values)
    for table in speed_page.tables(record):
        _print(table)
    record_file.keep(values, record)


def layers(values: flags.FlagValues) -> dict[str, Any]:
    """All times of each size."""
    record = {}
    for size in [_numbers("--sizes", words, "T,B,D,H") for words in values.sizes.split(";")]:
        print(f"{','.join(map(str, size))}: compiling, and comparing numbers ...", flush=True)
        everyone = peers.ways(ways.problem(values.layer, size), values.only)
        there = {name: way for name, way in everyone.items() if isinstance(way, ways.Way)}
        if not there:
            raise UserError("; ".join(f"{name}: {why}" for name, why in everyone.items()))
        _require_agreement({name: way for name, way in there.items() if not name.startswith(ways.PRODUCTS)})
        calls = {f"{name}: {kind}": call for name, way in there.items() for kind, call in way.calls.items()}
        with progress_bar(values.repeats * len(calls)) as show:
            found = interleaved(calls, values.repeats, show)
        for name in found:
            if name.endswith(": steps"):
                found[name] = [each / ways.TOGETHER for each in found[name]]
        record[",".join(map(str, size))] = {
            "milliseconds": {
                kind: {name: found[f"{name}: {kind}"] for name, way in there.items() if kind in way.calls}
                for kind in ways.KINDS
            },
            "missing": {name: why for name, why in everyone.items() if name not in there},
            "seconds": {name: way.seconds for name, way in there.items() if way.seconds},
            "bytes": {name: way.bytes for name, way in there.items() if way.bytes},
        }
    return {"layer": values.layer, "sizes": record}


def grown(values: flags.FlagValues) -> dict[str, Any]:
    """The gradient's times by length."""
    size = _numbers("--growing", values.growing, "B,D,H")
    lengths = sorted(_numbers("--lengths", ",".join(values.lengths), ",".join("T" for _ in values.lengths or "T")))
    return growth.with_length(values.layer, size, lengths, values.only, values.repeats, values.budget)


def seeds(values: flags.FlagValues) -> dict[str, Any]:
    """A training step's times by the number of runs."""
    config = _config(values, 1)
    counts = [2**power for power in range(max(values.runs, 1).bit_length())]
    with progress_bar(values.repeats * len(counts)) as show:
        times = growth.with_runs(config, counts, values.train_steps, values.repeats, show)
    return {"config": _in_words(values), "milliseconds": times}


def layouts(values: flags.FlagValues) -> dict[str, Any]:
    """The layouts' times."""
    unknown = [layout for layout in values.layouts if layout not in MESHES]
    if unknown:
        raise UserError(f"--layouts={','.join(unknown)}; expected some of {', '.join(MESHES)}")
    config = _config(values, values.runs)
    with progress_bar(values.repeats * (len(values.layouts) + 2)) as show:
        times = layout_times(config, values.runs, values.layouts, values.train_steps, values.repeats, show)
    return {"config": f"{values.runs} runs of {_in_words(values)}", "milliseconds": times}


def started(values: flags.FlagValues) -> dict[str, Any]:
    """The seconds until something runs."""
    return {"seconds": startup.times(values.repeats)}


def _config(values: flags.FlagValues, count: int) -> Config:
    return command_line.config_from(values, seeds=count, eval_size=1)


def _in_words(values: flags.FlagValues) -> str:
    return f"{values.cell} on {values.task}, batches of {values.batch_size}"


def _require_agreement(there: dict[str, ways.Way]) -> None:
    """That all give the same outputs and gradients, to float32's precision over many steps, or a GPU's TF32."""
    if not there:
        return
    limit = 1e-3 if jax.default_backend() == "cpu" else 3e-2
    (first, reference), *others = there.items()
    expected = [reference.calls[kind]() for kind in ("forward", "gradient")]
    for name, way in others:
        got = [way.calls[kind]() for kind in ("forward", "gradient")]
        for ours, theirs in zip(jax.tree.leaves(expected), jax.tree.leaves(got)):
            ours, theirs = (np.asarray(leaf.cpu() if hasattr(leaf, "cpu") else leaf) for leaf in (ours, theirs))
            off = np.abs(ours - theirs).max() / (np.abs(ours).max() + 1e-30)
            if not off < limit:
                raise UserError(f"{name} and {first} disagree by {off:.1e}; nothing was timed")


def _numbers(flag: str, words: str, form: str) -> tuple[int, ...]:
    """'8,2,64' -> (8, 2, 64)."""
    try:
        numbers = tuple(int(number) for number in words.split(","))
    except ValueError as error:
        raise UserError(f"{flag}={words!r}; expected {form}, whole numbers from 1") from error
    if len(numbers) != form.count(",") + 1 or min(numbers) < 1:
        raise UserError(f"{flag}={words!r}; expected {form}, whole numbers from 1")
    return numbers


def _print(table: Table) -> None:
    shown = rich.table.Table(*table.headings, title=table.title)
    for row in table.rows:
        shown.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(shown)
    for note in table.notes:
        console.print(f"not timed: {note}", markup=False, highlight=False)


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(
        speed, FLAGS, __doc__, argv, shares_cores=lambda values: values.what in ("layouts", "seeds")
    )


if __name__ == "__main__":
    sys.exit(main())

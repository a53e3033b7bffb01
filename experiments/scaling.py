"""Measure how the time and memory of a training step grow with runs, devices and processes.

--what=runs:      by the number of runs on one device.
--what=devices:   by the devices, for runs dealt out (run=N) and for a batch that is split (data=N).
--what=processes: the same by processes of one device each, on this machine.
--what=one:       this process by itself, on the devices that --mesh names; one line of JSON.
--what=page:      no times; docs/scaling.md from the records in results/scaling.

On a CPU the devices are simulated and share its cores: that shows the shape, and what it costs to talk.

Example:
  python -m experiments.scaling --what=devices --numbers=1,2,4,8 --record=results/scaling/devices.json
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import command_line, record_file, scaling_page
from experiments.pages import ROOT
from experiments.timing import bytes_of
from seqjax import UserError
from seqjax.training import Config, prepare, processes
from seqjax.training.preparing import initialize

FLAGS = flags.FlagValues()
KINDS = ["runs", "devices", "processes", "one", "page"]
COLLECTIVES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
command_line.define_config(
    FLAGS, ["cell", "task", "batch_size", "seeds"], cell="lstm(hidden=64)", task="adding(length=100)", seeds=8
)
flags.DEFINE_enum("what", "one", KINDS, f"what to measure: {', '.join(KINDS)}", flag_values=FLAGS)
flags.DEFINE_list("numbers", ["1", "2", "4", "8"], "of runs, devices or processes", flag_values=FLAGS)
flags.DEFINE_integer("train_steps", 10, "steps timed at a time", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 5, "times each is timed", flag_values=FLAGS)
flags.DEFINE_string("note", None, "what else the machine did, for the record", flag_values=FLAGS)
record_file.define_record(FLAGS)
command_line.define_mesh(FLAGS)


def scaling(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Measure, print, and keep the record where asked to."""
    if values.what == "page":
        scaling_page.update(ROOT / "docs" / "scaling.md", ROOT / "results" / "scaling")
        return
    if values.mesh != "auto" and values.what != "one":
        raise UserError(f"--mesh={values.mesh} is for --what=one; --what={values.what} has meshes of its own")
    if values.numbers != values["numbers"].default and values.what == "one":
        raise UserError(f"--numbers={','.join(values.numbers)} is for the other --what; one is measured as --mesh says")
    for name in ("repeats", "train_steps"):
        if values[name].value < 1:
            raise UserError(f"--{name}={values[name].value}; expected at least 1")
    numbers = [int(number) if number.isdecimal() else 0 for number in values.numbers]
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise UserError(f"--numbers={','.join(values.numbers)}; expected whole numbers from 1, each once, as in 1,2,4")
    record_file.require_place(values)
    record = {"what": values.what, "note": values.note, "repeats": values.repeats}
    record |= record_file.circumstances("scaling", argv)
    record |= {"config": f"{values.cell} on {values.task}, batches of {values.batch_size}"}
    if values.what == "one":
        found = one(command_line.config_from(values, eval_size=1), values.mesh, values.train_steps, values.repeats)
        if processes.is_first():
            print(json.dumps(found))
        record_file.keep(values, record | found)
        return
    record["rows"] = []
    for number in numbers:
        for mesh, seeds, devices, count in _cases(values.what, number, values.seeds):
            print(f"{number} {values.what}, mesh {mesh} ...", file=sys.stderr, flush=True)
            row = {"number": number, "mesh": mesh, "runs": seeds} | _children(values, mesh, seeds, devices, count)
            record["rows"].append(row)
    for table in scaling_page.tables(record):
        print(table)
    record_file.keep(values, record)


def _cases(what: str, number: int, seeds: int) -> list[tuple[str, int, int, int]]:
    """Mesh, seeds, devices a process, processes."""
    if what == "runs":
        return [("run=1,map", number, 1, 1), ("run=1,vmap", number, 1, 1)]
    devices, count = (number, 1) if what == "devices" else (1, number)
    return [(f"run={number}", seeds, devices, count), (f"run=1,data={number}", 1, devices, count)]


def one(config: Config, mesh: str, steps: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of a step of all runs, bytes the program needs on a device, and bytes that a run's step sends."""
    prepared = prepare(config, mesh)
    layout = prepared.layout
    layout.meet()
    state, data = layout.put(initialize(prepared)), layout.put(prepared.program.data, shared=True)
    program = prepared.compiled.train.lower(state, np.int32(steps), data).compile()
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        program(state, np.int32(steps), data).step.block_until_ready()
        times.append(1e3 * (time.perf_counter() - start) / steps)
    return {
        "milliseconds": times[1:],
        "bytes": bytes_of(program),
        "sent": collectives(program.as_text(), layout.mesh.size),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)) // len(layout.slots),
    }


def collectives(program: str, parts: int) -> dict[str, int]:
    """Bytes of what the devices exchange in a compiled program, by kind: before a sum, or after a gathering."""
    found: dict[str, int] = {}
    for shapes, kind in re.findall(rf"= (\(?[^=]*?\)?) ({COLLECTIVES})(?:-start)?\(", program):
        size = 0
        for width, dims in re.findall(r"[a-z]+(\d+)[a-z0-9]*\[([\d,]*)\]", shapes):
            size += int(width) // 8 * math.prod(int(dim) for dim in dims.split(",") if dim)
        found[kind] = found.get(kind, 0) + size * (parts if kind == "reduce-scatter" else 1)
    return found


def _children(values: flags.FlagValues, mesh: str, seeds: int, devices: int, count: int) -> dict[str, Any]:
    """What the first of so many processes measures."""
    given = [f"--{name}={values[name].value}" for name in ("cell", "task", "batch_size", "train_steps", "repeats")]
    command = [sys.executable, "-m", "experiments.scaling", "--what=one", *given, f"--seeds={seeds}", f"--mesh={mesh}"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    flags_of = lambda k: [f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}", f"--process_id={k}"]  # noqa: E731
    one_thread = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    around = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "XLA_FLAGS": one_thread}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": around, "cwd": ROOT}
    children = [subprocess.Popen([*command, *(flags_of(k) if count > 1 else [])], **pipes) for k in range(count)]
    said = [child.communicate() for child in children]
    if any(child.returncode for child in children):
        raise UserError(f"--mesh={mesh} with {count} processes failed: {' '.join(said[0][1].split())[-300:]}")
    return json.loads(said[0][0].splitlines()[-1])


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(scaling, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

"""How the gradient travels through any cell: adjoints, singular values, Lyapunov, lags, gates, horizons.

Every cell is probed at initialization on one batch, the first seed beside the gradient norms of all; of a stack
every layer, and of two directions the forward one.
Ends with a table that ranks the cells, and a report.html with a figure of each quantity.

Example:
  python -m experiments.gradient_flow --cells='rnn;lstm;gru;lstm(max_lag=1000)' --task='adding' \\
      --length=1000 --quantities=spectrum,lyapunov,lag,sensitivity,gates
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import command_line, grid
from seqjax import UserError
from seqjax.gradients.flow import QUANTITIES, flow
from seqjax.spec import did_you_mean
from seqjax.training import Prepared
from seqjax.training.preparing import initialize
from seqjax.training.program import probe_batch
from seqjax.training.record import write_json

FLAGS = flags.FlagValues()
grid.define_cells(FLAGS)
grid.define_tasks(FLAGS, default_lengths="100")
flags.DEFINE_integer("length", None, "one length, as --lengths", flag_values=FLAGS)
DEFAULT = [name for name in QUANTITIES if name != "curse"]  # which takes n² P operations a step
flags.DEFINE_list("quantities", DEFAULT, "what to measure beside adjoints; curse too", flag_values=FLAGS)
command_line.define_config(
    FLAGS, ["seeds", "first_seed", "layers", "bidirectional", "embedding", "probe_size"], seeds=3, probe_size=16
)
command_line.define_run(FLAGS, "gradient_flow")


def gradient_flow(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Probe every cell on every task, untrained, and report."""
    for name in values.quantities:
        if name not in QUANTITIES:
            raise UserError(f"--quantities has {name!r}{did_you_mean(name, QUANTITIES)}known: {', '.join(QUANTITIES)}")
    if "noise" in values.quantities and values.probe_size < 2:
        raise UserError(f"--probe_size={values.probe_size}; expected at least 2, or --quantities without noise")
    if values.length is not None:
        if values.lengths is not None:
            raise UserError(f"--length={values.length} beside --lengths; give one of them")
        values.lengths = [str(values.length)]
    cells = grid.specs("--cells", values.cells)
    measure = functools.partial(write_flow, quantities=tuple(values.quantities))
    grid.run("gradient_flow", values, argv, cells, default_lengths=(100,), after=measure, steps=0)


def write_flow(
    prepared: Prepared, directory: Path, tell: Callable[[int, str], None], quantities: tuple[str, ...]
) -> None:
    """flow.json: the quantities of the first run at initialization, by layer where there are several."""
    task, model = prepared.task, prepared.model
    place = int(np.flatnonzero(prepared.layout.slots == 0)[0])
    params = jax.tree.map(lambda leaf: leaf[place], jax.device_get(initialize(prepared).params))
    batch = probe_batch(task, prepared.program.data, prepared.config.probe_size)
    layers = len(model.layers(params))
    found: dict[str, dict[str, Any]] = {f"layer_{layer}": {} for layer in range(layers)}
    for layer, (name, by_quantity) in enumerate(found.items()):
        for quantity in quantities:  # one after the other: XLA's pool on a CPU can wait for itself in two QRs at a time
            if layer and quantity == "truncation":
                continue  # is of all layers
            tell(0, f"{name} {quantity}" if layers > 1 else quantity)
            measure = jax.jit(functools.partial(flow, model, loss=task.loss, quantities=(quantity,), layer=layer))
            by_quantity |= jax.device_get(measure(params, batch))
    write_json(directory / "flow.json", jax.tree_util.tree_map_with_path(_plain, found))


def _plain(path: tuple, leaf: np.ndarray) -> Any:
    """Numbers as JSON has them: single ones and exponents may be "inf", curves have null there, as for NaN."""
    told = np.ndim(leaf) == 0 or path[-1].key == "exponents"
    endless = lambda value: str(value) if told and math.isinf(value) else value  # noqa: E731
    return jax.tree.map(endless, np.round(np.asarray(leaf, float), 5).tolist())


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(gradient_flow, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

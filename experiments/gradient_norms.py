"""Draw the gradient norm at every time step at initialization, for any cells and length, in seconds.

Example:
  python -m experiments.gradient_norms --cells='rnn;lstm;lstm(max_lag=500);gru' \\
      --task='adding(length=500)' --seeds=5
"""

from __future__ import annotations

import sys

from absl import flags

from experiments import command_line, grid

FLAGS = flags.FlagValues()
grid.define_cells(FLAGS)
grid.define_tasks(FLAGS, default_lengths="100")
command_line.define_config(
    FLAGS, ["seeds", "first_seed", "layers", "bidirectional", "embedding", "probe_size"], seeds=3
)
command_line.define_run(FLAGS, "gradient_norms")


def gradient_norms(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Probe every cell on every task, untrained, and report."""
    cells = grid.specs("--cells", values.cells)
    grid.run("gradient_norms", values, argv, cells, default_lengths=(100,), steps=0)


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(gradient_norms, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

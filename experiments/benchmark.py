"""Compare cells on long-term-dependency tasks: who solves what, and how the gradient gets there.

Every cell is trained on every task at every length; the seeds and learning rates of each are one
program. Ends with a table, and a report.html with learning curves and gradient norms over time.

Example:
  python -m experiments.benchmark --cells='rnn(hidden=128);lstm(hidden=128, forget_bias=1.0)' \\
      --task='adding(length=200)' --seeds=5 --learning_rates=1e-3,3e-3 --steps=5000 --workdir=runs/x
"""

from __future__ import annotations

import sys

from absl import flags

from experiments import command_line, grid, launch

FLAGS = flags.FlagValues()
grid.define_cells(FLAGS)
grid.define_tasks(FLAGS, default_lengths="50,100")
command_line.define_config(
    FLAGS,
    [name for name in command_line.CONFIG_FLAGS if name not in ("cell", "task")],
    learning_rates=(1e-3, 1e-2),
    seeds=3,
    steps=2000,
)
command_line.define_run(FLAGS, "benchmark")
launch.define_launch(FLAGS)


def benchmark(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Train the grid, one program after the other, and report."""
    cells = grid.specs("--cells", values.cells)
    grid.run("benchmark", values, argv, cells, default_lengths=(50, 100))


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(benchmark, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Train one cell on one task, over seeds and learning rates, and report.

Example:
  python -m experiments.train --cell='lstm(hidden=128, max_lag=100)' --task='copy_memory(length=100)' \\
      --optimizer='rmsprop(decay=0.9)' --learning_rates=1e-3 --seeds=3 --steps=5000 --workdir=runs/copy
"""

from __future__ import annotations

import sys

from absl import flags

from experiments import command_line
from experiments.preemption import preemptible
from experiments.progress import progress_bar
from seqjax.training import prepare, train

FLAGS = flags.FlagValues()
command_line.define_config(FLAGS, list(command_line.CONFIG_FLAGS), cell="lstm", task="adding")
command_line.define_run(FLAGS, "train")


def train_one(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Train one program and report."""
    workdir = command_line.workdir_from(values, "train")
    prepared = prepare(command_line.config_from(values), values.mesh)
    with (
        preemptible("train", argv, workdir, prepared.config.steps > 0) as stopping,
        progress_bar(prepared.config.steps) as show,
    ):
        train(
            prepared,
            workdir,
            command=command_line.command("train", argv),
            resume=values.resume,
            progress=lambda step, words: show(step, "", words),
            stopping=stopping,
        )


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(train_one, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

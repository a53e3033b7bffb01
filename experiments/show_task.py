"""Show a task: samples that a person can read, with its baseline, its criterion and its lengths.

Example:
  python -m experiments.show_task --task='embedded_reber()' --samples=3
"""

from __future__ import annotations

import sys

import jax
import numpy as np
from absl import flags

from experiments import command_line
from seqjax import UserError
from seqjax.data.streamed import count_of
from seqjax.tasks.showing import length, show
from seqjax.training import memory
from seqjax.training.building import build_task
from seqjax.training.stream import train_batch
from seqjax.types import Batch, Task

SYMBOLS = 2**31 - 1  # that 32 bits can tell apart
FLAGS = flags.FlagValues()
command_line.define_config(FLAGS, ["task"], task="adding")
flags.DEFINE_integer("samples", 3, "how many sequences to show", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the draw", flag_values=FLAGS)


def show_task(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Print the task's facts and its samples."""
    for name, least, most in (("samples", 1, 1_000_000), ("seed", 0, 2**32 - 1)):
        if not least <= values[name].value <= most:
            raise UserError(f"--{name}={values[name].value}; expected {least} to {most}")
    task = build_task(values.task)
    if task.tokens and task.input_size > SYMBOLS:
        symbols = f"{task.input_size} symbols, a number beyond 32 bits"
        raise UserError(f"--task={values.task!r}: {symbols}; expected a smaller one")
    try:
        batch = draw(task, values.seed, values.samples)
    except OverflowError as error:
        raise UserError(f"--task={values.task!r}: a number beyond 32 bits; expected a smaller one") from error
    kind = f"one of {task.input_size} symbols" if task.tokens else _count(task.input_size, "number")
    where = {"every": "at every step", "last": "at the end", "decode": "for each symbol it writes"}[task.readout]
    lengths = sorted({length(batch, n) for n in range(values.samples)})
    steps = f"{jax.tree.leaves(batch.inputs)[0].shape[0]} steps"
    if batch.lengths is not None:
        steps = f"at most {steps}, here {' to '.join(map(str, lengths[:: max(1, len(lengths) - 1)]))}"
    print(f"task       {values.task}")
    print(f"input      {kind} a step; {steps}")
    print(f"output     {_count(task.output_size, 'number')} {where}")
    guess = "the best guess" if task.examples is None else "a guess"
    print(f"baseline   {task.baseline + 0.0:.4g}, the loss of {guess} without memory")
    if task.optimum is not None:
        print(f"optimum    {task.optimum:.4g}, the loss of the best predictor there can be")
    print(f"solved     {task.criterion}")
    if task.examples is not None:
        print(f"examples   {count_of(task.examples.train)} to train, {count_of(task.examples.test)} to test on")
    for number in range(values.samples):
        print(f"\nsample {number + 1}\n{show(task, batch, number)}")


def draw(task: Task, seed: int, samples: int) -> Batch:
    """So many sequences: of a synthetic task sampled, of real data taken from the training examples."""
    train = () if task.examples is None else task.examples.train
    if task.examples is not None and samples > count_of(train):
        raise UserError(f"--samples={samples}; the training data holds {count_of(train)} examples")
    key = jax.random.key(seed)
    if task.examples is None:
        needed = 2 * memory.size(memory.shapes(lambda key: task.sample(key, samples), key))  # what it is made of, too
        if needed > memory.at_hand():
            raise UserError(
                f"--samples={samples} of this task need {needed / 1e9:.3g} GB; expected fewer, or shorter ones"
            )
    drawn = jax.jit(lambda train: train_batch(task, train, key, np.int32(0), samples))(train)
    return jax.device_get(jax.block_until_ready(drawn))  # raises where memory ends; device_get aborts


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(show_task, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

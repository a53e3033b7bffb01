"""The hidden Markov model as a tagger: counted on the rows to train on, Viterbi's path on those to test on.

Example:
  python -m experiments.hidden_markov --task='tagging(data="path/to/ud_english_ewt", characters=0)'
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
from absl import flags

from experiments import command_line
from seqjax import UserError
from seqjax.models import hmm
from seqjax.training.config import build_task
from seqjax.training.prediction import graded
from seqjax.types import Array, Batch, PyTree

FLAGS = flags.FlagValues()
flags.DEFINE_string("task", None, "spec of a task of labels at every step: tagging, ner", flag_values=FLAGS)
flags.DEFINE_float("smoothing", 0.1, "what every count begins with", flag_values=FLAGS)


def tag(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Count, find the likeliest labels, grade them."""
    if values.task is None:
        raise UserError("--task is missing; expected a spec as tagging(data='...')")
    task = build_task(values.task)
    if task.examples is None or task.readout != "every" or task.spell is None or not task.tokens:
        raise UserError(f"--task={values.task!r}: expected a task of words with a label each, as tagging or ner")
    sizes = {"kinds": task.output_size, "symbols": task.input_size}

    @jax.jit
    def answers(train: PyTree, test: PyTree) -> tuple[Batch, Array, Array]:
        train, test = (task.examples.batch(split) for split in (train, test))
        model = hmm.count(train.targets, _words(train), train.lengths, **sizes, smoothing=values.smoothing)
        given = _words(test), test.lengths
        return test, jnp.maximum(hmm.viterbi(model, *given)[0], 0), jnp.mean(hmm.score(model, *given))

    *answered, score = jax.device_get(answers(task.examples.train, task.examples.test))
    print(f"task       {values.task}")
    print(f"model      {task.output_size} states, {task.input_size} words, smoothing {values.smoothing:g}")
    print(f"score      {score:.2f} nats a sentence")
    for name, grade in graded(task, [answered]).items():
        print(f"{name:<10} {grade:.4f}")


def _words(batch: Batch) -> Array:
    """The numbers of the words [T, B], without their characters."""
    return batch.inputs if batch.inputs.ndim == 2 else batch.inputs[..., 0]


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(tag, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

"""The hidden Markov model beside the networks, on the same split of the same data.

On labels at every step (tagging, ner) it is counted on the rows to train on, and says Viterbi's path of those to test
on. On a text (char_lm) its states are unknown: they are learned by Baum and Welch from the windows to train on, and
the text to test on is read in one go.

Examples:
  python -m experiments.hidden_markov --task='tagging(data="path/to/ud_english_ewt", characters=0)'
  python -m experiments.hidden_markov --task='char_lm(data="path/to/input.txt")' --states=32 --rounds=30
"""

from __future__ import annotations

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import command_line, record_file
from experiments.progress import progress_bar
from experiments.timing import bytes_of
from seqjax import UserError
from seqjax.data.streamed import Streamed
from seqjax.models import hmm
from seqjax.training import memory
from seqjax.training.building import build_task
from seqjax.training.prediction import graded
from seqjax.types import Array, Batch, PyTree, Task

MOST_STATES = 10_000  # of which each passage has its chance
MOST_SMOOTHING = 1e30  # of which float32 holds the sum over all words
OF_TEXT, OF_LABELS = ("states", "rounds", "seed"), ("smoothing",)  # flags
FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "task", None, "spec of a task of labels at every step, or of a text to go on with", flag_values=FLAGS
)
flags.DEFINE_float("smoothing", 0.1, "what every count of a tagger begins with", flag_values=FLAGS)
flags.DEFINE_integer("states", 32, "hidden states of a text", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 30, "of Baum and Welch", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the model that they begin with", flag_values=FLAGS)
record_file.define_record(FLAGS)


def hidden_markov(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Learn, answer, print; keep the record where asked to."""
    for name, least, most in (("states", 1, MOST_STATES), ("rounds", 1, 2**32 - 1), ("seed", 0, 2**32 - 1)):
        if not least <= values[name].value <= most:
            raise UserError(f"--{name}={values[name].value}; expected {least} to {most}")
    if not 0 <= values.smoothing <= MOST_SMOOTHING:
        raise UserError(f"--smoothing={values.smoothing}; expected 0 to {MOST_SMOOTHING:g}")
    if values.task is None:
        raise UserError("--task is missing; expected a spec as tagging(data='...')")
    record_file.require_place(values)
    task, began = build_task(values.task), time.monotonic()
    if task.examples is None or task.readout != "every" or not task.tokens:
        raise UserError(f"--task={values.task!r}: expected a task of words with a label each, as tagging, or of a text")
    if isinstance(task.examples.train, Streamed):
        raise UserError(f"--task={values.task!r}: its data stay on disk; with stream=False they are read into memory")
    kind, others = ("a text", OF_LABELS) if task.examples.streams else ("labels", OF_TEXT)
    if idle := [name for name in others if values[name].value != values[name].default]:
        raise UserError(f"--{idle[0]}={values[idle[0]].value} does nothing for {kind}, as --task={values.task!r} has; "
                        "leave it out")  # fmt: skip
    found = _of_text(task, values) if task.examples.streams else _of_labels(task, values)
    print(f"task       {values.task}")
    for name, value in found.items():
        print(f"{name:<26} {value:.4f}" if isinstance(value, float) else f"{name:<26} {value}")
    told = {"task": values.task, "found": found, "wall_seconds": round(time.monotonic() - began, 1)}
    record_file.keep(values, record_file.circumstances("hidden_markov", argv) | told)


def _of_labels(task: Task, values: flags.FlagValues) -> dict[str, Any]:
    """Count, find the likeliest labels, grade them."""
    if task.spell is None:
        raise UserError(f"--task={values.task!r}: expected a task of words with a label each, as tagging or ner, or of "
                        "a text in its order: char_lm or word_lm with carried=True")  # fmt: skip
    sizes = {"kinds": task.output_size, "symbols": task.input_size}

    @jax.jit
    def answers(train: PyTree, test: PyTree) -> tuple[Batch, Array, Array]:
        train, test = (task.examples.batch(split) for split in (train, test))
        model = hmm.count(train.targets, _words(train), train.lengths, **sizes, smoothing=values.smoothing)
        given = _words(test), test.lengths
        return test, jnp.maximum(hmm.viterbi(model, *given)[0], 0), jnp.mean(hmm.score(model, *given))

    *answered, score = jax.device_get(answers(task.examples.train, task.examples.test))
    model = f"{task.output_size} states, {task.input_size} words, smoothing {values.smoothing:g}"
    return {"model": model, "log p, nats a sentence": float(score)} | graded(task, [answered])


def _words(batch: Batch) -> Array:
    """The numbers of the words [T, B], without their characters."""
    return batch.inputs if batch.inputs.ndim == 2 else batch.inputs[..., 0]


def _of_text(task: Task, values: flags.FlagValues) -> dict[str, Any]:
    """Learn from the windows, each by itself; then nats a symbol of the whole text to test on, but its first."""
    train, test = (task.examples.batch(split) for split in (task.examples.train, task.examples.test))
    model = hmm.random_hmm(jax.random.key(values.seed), values.states, symbols=task.input_size)
    count = float(jnp.sum(train.lengths))
    with progress_bar(values.rounds, "round") as show:
        show(0, "Baum and Welch", "compiling")
        step = jax.jit(hmm.em_step).lower(model, train.inputs, train.lengths).compile()
        if (needed := bytes_of(step)) > memory.at_hand():
            raise UserError(f"--states={values.states} need {needed / 1e9:.3g} GB; expected fewer, or a longer window")
        for number in range(values.rounds):
            model, before = step(model, train.inputs, train.lengths)
            show(number + 1, "Baum and Welch", f"{-float(before) / count:.4f} nats before it")
    learned = float(jnp.sum(jax.jit(hmm.score)(model, train.inputs, train.lengths)))  # after the last round
    inputs, targets = (np.asarray(each).T[np.asarray(test.mask).T > 0] for each in (test.inputs, test.targets))
    text = np.append(inputs, targets[-1])[:, None]

    def nats(model: hmm.HMM) -> float:
        whole, first = (jax.jit(hmm.score)(model, part)[0] for part in (text, text[:1]))
        return float(first - whole) / (len(text) - 1)

    alone = hmm.random_hmm(jax.random.key(values.seed), 1, symbols=task.input_size)  # learned in one round
    alone, _ = jax.jit(hmm.em_step)(alone, train.inputs, train.lengths)
    return {
        "model": f"{values.states} states, {task.input_size} symbols, {values.rounds} rounds, seed {values.seed}",
        "nats a symbol to train on": -learned / count,
        "nats a symbol to test on": nats(model),
        "bits a symbol to test on": nats(model) / float(np.log(2)),
        "without memory, nats": nats(alone),
    }


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(hidden_markov, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

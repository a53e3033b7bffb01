"""Answer with a trained run: the test split, graded as the field does and drawn, or what is typed, or a data file.

Examples:
  python -m experiments.predict runs/tagging
  python -m experiments.predict runs/tagging --text='The dog barks .'
  python -m experiments.predict runs/forecast --data=measured.csv
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import command_line
from experiments.samples import Sample, forecast_drawn, said, sample, spread
from seqjax import UserError
from seqjax.files import write_whole
from seqjax.training.prediction import answering, answers, graded, in_parts, restore
from seqjax.training.preparing import Prepared
from seqjax.training.record import write_json
from seqjax.types import Array, Batch, PyTree

Spell = Callable[[Array, int], list[str]]
FLAGS = flags.FlagValues()
flags.DEFINE_multi_string("text", None, "a text to answer to, or the path of a wav file", flag_values=FLAGS)
flags.DEFINE_string(
    "data",
    None,
    "a file of rows (csv, parquet, json, conll, conllu, or lines of the source as test.en) without answers, or a "
    "folder of images or wav files; answered in the order of the rows, or of the files' "
    "paths; a forecast follows the last row",
    flag_values=FLAGS,
)
flags.DEFINE_integer("run", 0, "which run of the directory, in the order of its result.json", flag_values=FLAGS)
flags.DEFINE_integer("samples", 3, "how many sequences of the test split to show", flag_values=FLAGS)


def predict(values: flags.FlagValues, directory: str | None, argv: list[str]) -> None:
    """Print the answers; those of the test split are graded, and the grades kept in grades-RUN.json."""
    if values.samples < 0:
        raise UserError(f"--samples={values.samples}; expected at least 0")
    prepared, params = restore(Path(directory), values.run, diverged=False)
    task = prepared.eval_task
    if task.examples is None:
        raise UserError(f"--task={prepared.config.task!r} draws its samples; expected a task on data")
    if values.text or values.data is not None:
        batch, spell = _asked(prepared, values)
        _answer(prepared, params, batch, spell, Path(directory) / f"answers-{values.run}")
        return
    answered = [] if task.spell is None else list(answers(prepared, params, task.examples.test))
    shown = sample(prepared, params, answered)
    if not answered and not shown.words and not shown.figures:
        raise UserError(f"--task={prepared.config.task!r} has no answers that can be spelled or drawn")
    _draw(shown, Path(directory) / f"answers-{values.run}", tells=not answered)
    if not answered:
        return
    for batch, given, n in spread(answered, values.samples):
        print(said(task, batch, given, n), end="\n\n")
    if task.grade is None:
        return
    grades = graded(task, answered)
    for name, grade in grades.items():
        print(f"{name:<18} {grade:.4f}")
    kept = Path(directory) / f"grades-{values.run}.json"
    try:
        write_json(kept, {"task": prepared.config.eval_task or prepared.config.task, **grades})
    except OSError as error:
        raise UserError(f"cannot write {kept}: {error.strerror}") from error


def _asked(prepared: Prepared, values: flags.FlagValues) -> tuple[Batch, Spell | None]:
    """What is typed, or a file's rows."""
    task = prepared.eval_task
    if values.text and values.data is not None:
        raise UserError("--text and --data; expected one of them")
    if values.samples != values["samples"].default:
        raise UserError(f"--samples={values.samples} is of the test split; leave it out beside --text and --data")
    if blank := [text for text in values.text or [] if not text.strip()]:
        raise UserError(f"--text={blank[0]!r}; expected a text that is not empty")
    if values.data is not None:
        if task.read is None:
            raise UserError(f"--task={prepared.config.task!r} reads no rows without answers")
        return task.read(values.data)
    if task.parse is None:
        instead = "; expected --data=FILE" if task.read else ""
        raise UserError(f"--task={prepared.config.task!r} reads no text that is typed{instead}")
    return task.parse(values.text), None


def _answer(prepared: Prepared, params: PyTree, batch: Batch, spell: Spell | None, folder: Path) -> None:
    """Print the answer to each sequence; a forecast, which its file spells, is drawn besides."""
    answer = jax.jit(answering(prepared))
    for part in in_parts(batch):
        given, sure = jax.device_get(answer(params, part)), _chances(prepared, params, part)
        for n in range(part.mask.shape[-1]):
            spelled = prepared.eval_task.spell(part, given, n) if spell is None else spell(given, n)
            print(" ".join(spelled), *([] if sure is None else [f"{sure[n]:.0%}"]))
        if spell is not None:
            _draw(Sample("", (forecast_drawn(part, given, known=False),)), folder, tells=False)


def _chances(prepared: Prepared, params: PyTree, batch: Batch) -> Array | None:
    """How likely each answer is, where it is one of several classes [B]."""
    if prepared.task.readout != "last" or prepared.eval_task.answer is not None:
        return None
    outputs, _ = jax.jit(prepared.model.apply)(params, batch.inputs, batch.lengths)
    return np.asarray(jax.nn.softmax(outputs).max(-1))


def _draw(shown: Sample, folder: Path, tells: bool) -> None:
    """Keep the figures, and tell where; the words too where nothing else is to be printed."""
    if tells and shown.words:
        print(shown.words)
    try:
        for figure in shown.figures:
            folder.mkdir(exist_ok=True)
            write_whole(folder / f"{figure.name}.png", figure.png)
            print(f"figure: {folder / figure.name}.png")
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be written: {error.strerror}") from error


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(predict, FLAGS, __doc__, argv, positional="RUN_DIR")


if __name__ == "__main__":
    sys.exit(main())

"""Let a trained run write on by itself: text after text, a piece of music after a chord, a gesture for a label.

Examples:
  python -m experiments.generate runs/char_lm --prompt='ROMEO:' --temperature=.8
  python -m experiments.generate runs/chorales --prompt='60 64 67' --steps=64 --out=piece.mid
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import jax
import numpy as np
from absl import flags

from experiments import command_line
from seqjax import UserError
from seqjax.models.continuing import continued
from seqjax.models.decoding import narrowed
from seqjax.models.stack import first_carries
from seqjax.spec import prefixed
from seqjax.training import Prepared, memory
from seqjax.training.prediction import restore
from seqjax.types import PyTree

FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "prompt", None, "what it begins with, as the task reads it [its own first choice]", flag_values=FLAGS
)
flags.DEFINE_integer("steps", None, "steps to write [as many as the task suggests]", flag_values=FLAGS)
flags.DEFINE_float("temperature", 1.0, "below 1 the likely is likelier still", flag_values=FLAGS)
flags.DEFINE_integer("top_k", None, "draw from the k most likely alone", flag_values=FLAGS)
flags.DEFINE_float("top_p", None, "draw from the fewest whose chances add up to p", flag_values=FLAGS)
flags.DEFINE_integer("samples", 1, "how many to write", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "of the draws", flag_values=FLAGS)
flags.DEFINE_integer("run", 0, "which run of the directory, in the order of its result.json", flag_values=FLAGS)
flags.DEFINE_string(
    "out", None, "file to write, of the task's kind (.mid); numbered from the second on", flag_values=FLAGS
)
NARROWING = ("temperature", "top_k", "top_p")  # flags of how it is drawn


def generate(values: flags.FlagValues, directory: str | None, argv: list[str]) -> None:
    """Print what the run writes, or keep it in files."""
    for name, least in (("steps", 1), ("samples", 1), ("seed", 0), ("top_k", 1)):
        value = getattr(values, name)
        if value is not None and not least <= value < 2**31:
            raise UserError(f"--{name}={value}; expected {least} to {2**31 - 1}")
    if not 1e-6 <= values.temperature <= 1e6:
        raise UserError(f"--temperature={values.temperature}; expected a number from 1e-6 to 1e6")
    if values.top_p is not None and not 0 < values.top_p <= 1:
        raise UserError(f"--top_p={values.top_p}; expected more than 0 and at most 1")
    prepared, params = restore(Path(directory), values.run, diverged=False)
    task, spec = prepared.task.continuation, prepared.config.task
    if task is None:
        known = "char_lm, word_lm, penn_treebank, piano_rolls, drawing, and video(asks='next')"
        raise UserError(f"--task={spec!r} is not one that writes on; expected {known}")
    if values.out and (not task.ending or Path(values.out).suffix != task.ending):
        kinds = f"a file that ends with {task.ending}" if task.ending else "no --out, as it is printed"
        raise UserError(f"--out={values.out!r}: expected {kinds} for --task={spec!r}")
    with prefixed(f"--prompt={values.prompt!r}"):
        prompt = task.prompt(values.prompt)
    steps, drawn = values.steps or task.steps, []
    _require_room(prepared, params, prompt, steps, values.samples)
    prompt = np.repeat(prompt, values.samples, 1)

    def narrow(logits: jax.Array) -> jax.Array:
        drawn.append(logits)
        return narrowed(logits / values.temperature, values.top_k, values.top_p)

    draw = functools.partial(task.draw, narrow=narrow)
    write = jax.jit(lambda *given: continued(prepared.model, *given, steps, draw))
    inputs = params, jax.random.key(values.seed), prompt
    program = write.trace(*inputs)
    given = [f"--{name}" for name in NARROWING if values[name].value != values[name].default]
    if given and not drawn:
        raise UserError(f"{', '.join(given)}: --task={spec!r} writes on what it says, by no chances; leave it out")
    written = np.asarray(program.lower().compile()(*inputs))
    for number in range(values.samples):
        one = written[:, number]
        if values.out:
            place = Path(values.out)
            place = place.with_stem(f"{place.stem}-{number + 1}") if number else place
            _keep(place, task.file(one))
            print(f"written: {place}")
        else:
            print(task.spell(one), end="\n\n" if number + 1 < values.samples else "\n")


def _require_room(prepared: Prepared, params: PyTree, prompt: np.ndarray, steps: int, samples: int) -> None:
    """Raise UserError where memory cannot hold all that is written, and what the cells carry meanwhile."""
    carried = memory.shapes(lambda params: first_carries(prepared.model.layers(params), samples), params)
    needed = (len(prompt) + steps) * samples * prompt[0].nbytes + memory.size(carried)
    if needed > memory.at_hand():
        raise UserError(f"--samples={samples} of --steps={steps} need {needed / 1e9:.3g} GB; expected fewer of either")


def _keep(place: Path, content: bytes) -> None:
    try:
        place.write_bytes(content)
    except OSError as error:
        raise UserError(f"--out={str(place)!r} cannot be written: {error.strerror}") from error


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(generate, FLAGS, __doc__, argv, positional="RUN_DIR")


if __name__ == "__main__":
    sys.exit(main())

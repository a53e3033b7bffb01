"""Change one thing in a cell at a time: is the task still solved, and what does the gradient do?

--gradients scales the gradient along one path (h, c, x or a gate), all values unchanged; 0 stops it.
--changes sets an argument of the cell. The cell as it is comes first; each other is one change to it. What both change
if left out are paths and arguments of the lstm: for another cell give both.

Example:
  python -m experiments.ablation --cell='lstm(hidden=64)' --task='adding(length=100)' \\
      --gradients='h=0;c=0;forget_gate=0' --changes='forget_gate=False;forget_bias=5.0' --seeds=5
"""

from __future__ import annotations

import sys

from absl import flags

from experiments import command_line, grid
from seqjax import UserError, spec
from seqjax.spec import Spec

FLAGS = flags.FlagValues()
NOT_HERE = ("cell", "task", "bidirectional", "embedding", "character_width", "attention", "teacher_forcing", "beam")
PATHS = "h=0;c=0;x=0;input_gate=0;forget_gate=0;output_gate=0;candidate=0"
FORMS = "forget_gate=False;input_gate=False;output_gate=False;forget_bias=0.0"
command_line.define_config(FLAGS, ["cell"], cell="lstm(hidden=64)")
flags.DEFINE_string("gradients", PATHS, "path=factor, separated by ';'", flag_values=FLAGS)
flags.DEFINE_string("changes", FORMS, "argument=value, separated by ';'", flag_values=FLAGS)
grid.define_tasks(FLAGS, default_lengths="50")
command_line.define_config(
    FLAGS,
    [name for name in command_line.CONFIG_FLAGS if name not in NOT_HERE],
    learning_rates=(1e-2,),
    seeds=3,
    steps=1500,
)
command_line.define_run(FLAGS, "ablation")


def ablation(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Train the cell and each of its changed forms."""
    with spec.prefixed(f"--cell={values.cell!r}"):
        cell = spec.parse(values.cell)
    paths = _changes("--gradients", values.gradients)
    if any("cell" in change for change in paths):
        raise UserError(f"--gradients={values.gradients!r}: 'cell' is no path; expected one of its parts, as h, c or x")
    scaled = [str(Spec("scaled", {"cell": str(cell), **change})) for change in paths]
    formed = [str(Spec(cell.name, cell.arguments | change)) for change in _changes("--changes", values.changes)]
    grid.run("ablation", values, argv, [str(cell), *scaled, *formed], default_lengths=(50,))


def _changes(flag: str, text: str) -> list[dict[str, object]]:
    """'h=0;c=.5' -> [{'h': 0}, {'c': .5}], and 'h=0,c=.5' both at once, by the parser of specs."""
    try:
        return [spec.parse(f"changes({piece})").arguments for piece in spec.pieces(text)]
    except UserError as error:
        raise UserError(f"{flag}={text!r} does not parse; expected name=value, separated by ';'") from error


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(ablation, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

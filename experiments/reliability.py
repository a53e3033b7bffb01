"""Make docs/reliability.md from the record of the last `make faults`: what was broken, how often, what came of it.

Example:
  python -m experiments.reliability
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

from experiments import command_line
from seqjax import UserError
from seqjax.files import write_whole
from seqjax.report.markdown import pipe_table
from seqjax.training.record import MALFORMED, read_json

FLAGS = flags.FlagValues()
flags.DEFINE_string("record", "results/reliability.json", "the record that `make faults` wrote", flag_values=FLAGS)
flags.DEFINE_string("page", "docs/reliability.md", "the page that is made of it", flag_values=FLAGS)

WORDS = """\
## What is promised, and what is not

- **Checkpoints.** Beside each lies the SHA-256 of its every file (`sha256sum -c 500.sha256` checks it by hand). A
  damaged one is named on stderr and moved to `checkpoints/damaged/`, for orbax would in time delete it; the run goes on
  from the one before. Two are kept. One without checksums is taken at orbax's word.
- **Preemption.** SIGTERM or SIGINT stops `train`, `benchmark`, `ablation`, `reproduce` and `applications` within about
  five seconds (a single step of all runs, an evaluation or a compilation that is under way may take longer), with a
  checkpoint, the report so far, exit status 75 (EX_TEMPFAIL) and the command that goes on. A second signal ends the
  process at once, with 128 + its number. With `--launch` either signal ends the jobs of this machine, which go on from
  their last checkpoint; those of Slurm go on meanwhile.
- **The lock** is the operating system's (flock on the file `lock`): it dies with its process. On a file system without
  such locks nothing is held.
- **Disk full.** ENOSPC, a quota (EDQUOT) and a limit on file sizes (EFBIG) end a run with one line and status 2. What a
  report draws is not covered: it is made again from the records.
- **Memory.** What a program must hold at least is computed from shapes before anything is allocated. The estimate
  leaves out the compiler's own temporaries: what is refused could not have run, what is not may still be too large.
- **One program, many runs.** "Not a bit changes" compares one compiled program with itself, once with sound
  parameters in the place of those that are NaN or infinite. Two different programs may differ in the last bits.
- **The same bits** are tested on a CPU, by two processes without a shared compilation cache. On a GPU `--deterministic`
  sets `--xla_gpu_deterministic_ops` and `--xla_gpu_exclude_nondeterministic_ops`, and config.json keeps the flags.
  **What that costs on a GPU has not been measured**, and that it suffices there has not been tried.
- **Data sets** are read by the library `datasets`, which runs no script and loads no pickle. The README.md of a local
  folder may, by the hub's rules, name files outside of that folder.
"""


def reliability(values: flags.FlagValues, _: str | None, argv: list[str]) -> None:
    """Write the page."""
    path = Path(values.record)
    if not path.is_file():
        raise UserError(f"--record={path}: no such file; `make faults` writes it")
    try:
        text = page(read_json(path))
    except MALFORMED as error:
        raise UserError(f"--record={path} is no record of `make faults` ({error})") from error
    write_whole(Path(values.page), text)
    print(f"page: {values.page}")


def page(record: dict[str, Any] | None) -> str:
    """docs/reliability.md; what is promised alone where there is no record yet."""
    if record is None:
        return f"# Faults, and what came of them\n\nThere is no record yet: `make faults` writes it.\n\n{WORDS}"
    environment, totals = record["environment"], record["totals"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    device, dirty = environment["device"], " with changes" if environment["dirty"] else ""
    lines = [
        "# Faults, and what came of them",
        "",
        "Made by `python -m experiments.reliability` from results/reliability.json, the record of one "
        f"`{record['command']}`",
        "(tests/faults); no number is typed by hand.",
        "",
        f"{totals['passed']} tests passed, {totals['failed']} failed, {totals['skipped']} were skipped, in "
        f"{record['seconds'] / 60:.0f} minutes on {environment['cores']} cores ({device['kind']}), "
        f"Python {environment['python']}, {versions}; "
        f"commit {environment['commit']}{dirty}, {environment['started'][:10]}.",
        "",
    ]
    rows = []
    for file in record["files"].values():
        failed = f", **{file['failed']} failed**" if file["failed"] else ""
        counts = "; ".join(f"{name}: {count:,}" for name, count in file["counts"].items()) or "-"
        rows.append([file["about"], f"{file['passed']} passed{failed}", counts])
    lines += pipe_table(("what", "tests", "counted"), rows, numbers=[1])
    for kind in ("failures", "skips"):
        if record[kind]:
            lines += ["", f"{kind.capitalize()}:", "", *(f"- `{name}`: {why}" for name, why in record[kind].items())]
    return "\n".join([*lines, "", WORDS])


def main(argv: list[str] | None = None) -> int:
    """The script; argv without the program's name."""
    return command_line.run(reliability, FLAGS, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())

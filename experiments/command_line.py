"""What all scripts share: their flags, their help, and their errors."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from experiments import backend
from experiments.room import SMALLER, lacking, out_of_memory
from seqjax import UserError
from seqjax.data.streamed import REFUSED
from seqjax.training import Config, processes
from seqjax.training.mesh import read_mesh
from seqjax.training.signals import EXIT_STATUS, Preempted

BESIDE = "& "  # how the help of a flag begins that is told on the line of the flag before
# name -> (how absl reads it, help). The defaults are Config's own unless a script says otherwise.
CONFIG_FLAGS = {
    "cell": (flags.DEFINE_string, "spec of a cell: a file of seqjax/cells, or package.module.function"),
    "task": (flags.DEFINE_string, "spec of a task: a file of seqjax/tasks or seqjax/data, or package.module.function"),
    "learning_rates": (flags.DEFINE_list, "one or more, with commas; every seed runs at each"),
    "seeds": (flags.DEFINE_integer, "number of seeds"),
    "first_seed": (flags.DEFINE_integer, BESIDE + "the first of them"),
    "steps": (flags.DEFINE_integer, "batches at most, an update after each"),
    "batch_size": (flags.DEFINE_integer, "sequences in a batch"),
    "online": (flags.DEFINE_boolean, BESIDE + "an update at every step of the sequences, by RTRL"),
    "layers": (flags.DEFINE_integer, "depth of the stack"),
    "around_scale": (flags.DEFINE_float, BESIDE + "readout and embedding of tokens within ± this"),
    "bidirectional": (flags.DEFINE_boolean, "read each sequence both ways"),
    "dropout": (flags.DEFINE_float, "share of outputs dropped between layers"),
    "input_dropout": (flags.DEFINE_float, BESIDE + "of the first's inputs"),
    "embedding": (flags.DEFINE_integer, "width of a learned embedding, of tokens or images"),
    "character_width": (flags.DEFINE_integer, BESIDE + "of that of characters"),
    "attention": (flags.DEFINE_string, "of a decoder: additive, multiplicative or none"),
    "teacher_forcing": (flags.DEFINE_string, BESIDE + "a schedule"),
    "beam": (flags.DEFINE_integer, BESIDE + "width"),
    "strategy": (flags.DEFINE_string, "how cells run over time: auto, scan, checkpointed, associative, deer ..."),
    "optimizer": (flags.DEFINE_string, "spec of an optax optimizer, without its rate; held(...) keeps parts still"),
    "schedule": (flags.DEFINE_string, "spec of an optax schedule that scales the rate"),
    "clip_norm": (flags.DEFINE_float, "clip gradients to this global norm; 0 for no clipping"),
    "clip_value": (flags.DEFINE_float, BESIDE + "each number"),
    "penalty": (flags.DEFINE_string, "spec of a loss term: 'vanishing(weight=0.1)', 'flossing(weight=1.0, k=1)'"),
    "eval_task": (flags.DEFINE_string, "measure this task instead, 'parity(length=200)'"),
    "select_on": (flags.DEFINE_string, BESIDE + "select the evaluation by this split"),
    "eval_every": (flags.DEFINE_integer, "steps between evaluations"),
    "eval_size": (flags.DEFINE_integer, BESIDE + "sequences each draws, of data at a time"),
    "probe_every": (flags.DEFINE_integer, "steps between probes of the gradient norms"),
    "probe_size": (flags.DEFINE_integer, BESIDE + "most sequences in its batch"),
    "checkpoint_every": (flags.DEFINE_integer, "steps between checkpoints"),
    "stop_when_solved": (flags.DEFINE_boolean, "a run ends when it is solved"),
    "stop_when_decided": (flags.DEFINE_boolean, BESIDE + "all when the best rate is known"),
}


def define_config(flag_values: flags.FlagValues, names: Sequence[str], **defaults: object) -> None:
    """Define flags of Config by name, with Config's own defaults or those given."""
    for name in names:
        define, words = CONFIG_FLAGS[name]
        default = defaults.get(name, Config._field_defaults.get(name))
        if name == "learning_rates" and default is not None:
            default = [f"{rate:g}" for rate in default]
        define(name, default, words, flag_values=flag_values)


def define_run(flag_values: flags.FlagValues, script: str) -> None:
    """Define --mesh, --deterministic, --workdir, --resume, and by what processes find each other."""
    define_mesh(flag_values)
    flags.DEFINE_string("workdir", None, f"run directory [runs/{script}-<time>]", flag_values=flag_values)
    words = "on a GPU, the same bits every time; slower"
    flags.DEFINE_boolean("deterministic", False, words, flag_values=flag_values)
    flags.DEFINE_boolean(
        "resume",
        False,
        "continue the run directory where it stopped"
        + "; with more --steps, beyond its end" * ("steps" in flag_values),
        flag_values=flag_values,
    )


def define_mesh(flag_values: flags.FlagValues) -> None:
    """Define --mesh, --coordinator, --num_processes, --process_id and --peer_timeout."""
    words = "devices: run=4,data=2 deals out runs, splits batches; map, vmap: runs on one device"
    flags.DEFINE_string("mesh", "auto", words, flag_values=flag_values)
    words = "host:port of process 0"
    flags.DEFINE_string("coordinator", None, words, flag_values=flag_values)
    flags.DEFINE_integer("num_processes", None, BESIDE + "there are", flag_values=flag_values)
    flags.DEFINE_integer("process_id", None, BESIDE + "of this one", flag_values=flag_values)
    flags.DEFINE_integer("peer_timeout", 100, BESIDE + "s", flag_values=flag_values)


def config_from(flag_values: flags.FlagValues, **settings: object) -> Config:
    """The Config that the flags and the settings given describe."""
    fields = {name: flag_values[name].value for name in CONFIG_FLAGS if name in flag_values} | settings
    if isinstance(fields.get("learning_rates"), list):
        fields["learning_rates"] = _rates(fields["learning_rates"])
    if fields.get("clip_norm") == 0:
        fields["clip_norm"] = None
    return Config(**fields)


def workdir_from(flag_values: flags.FlagValues, script: str) -> Path:
    """--workdir, or a new directory named after the script and the time."""
    if flag_values.workdir:
        directory = Path(flag_values.workdir)
        if flag_values.resume and processes.is_first() and not (directory / "config.json").exists():
            print(f"--resume: --workdir={directory} holds no run yet; it begins", file=sys.stderr)
        return directory
    if flag_values.resume:
        raise UserError("--resume needs --workdir=..., the run directory to continue")
    return Path("runs") / f"{script}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def command(script: str, argv: Sequence[str]) -> str:
    """The command as a person would type it again."""
    return shlex.join(["python", "-m", f"experiments.{script}", *argv])


def continued(script: str, argv: Sequence[str], workdir: Path) -> str:
    """The command that goes on with a run directory, whatever it was called by."""
    flag, kept = re.compile(r"--?(no)?(workdir|resume)(=.*)?$"), []
    for before, word in zip(["", *argv], argv):
        if not flag.match(word) and before not in ("--workdir", "-workdir"):
            kept.append(word)
    return command(script, [*kept, f"--workdir={workdir}", "--resume"])


@backend.xla_flags_kept()
def run(
    action: Callable[[flags.FlagValues, Path | str | None, list[str]], None],
    flag_values: flags.FlagValues,
    words: str,
    argv: Sequence[str] | None,
    positional: str | None = None,
    shares_cores: Callable[[flags.FlagValues], bool] | None = None,
) -> int:
    """Parse, set JAX up, act; the exit status. A user's mistake is one line on stderr and status 2;
    a run that a signal stopped has status 75.

    Args:
        action: called with the parsed flags, the positional argument and the arguments as typed.
        flag_values: the script's own flags.
        words: the script's docstring, which opens its --help.
        argv: the arguments, or None for those of the process.
        positional: name of the one argument without a flag, if the script takes one.
        shares_cores: whether the cores are shared out among runs; by itself, where the flags ask for several.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    REFUSED.clear()
    try:
        if any(word in ("--help", "-h", "-help", "--helpfull") for word in argv):
            print(_help(flag_values, words), flush=True)
            return 0
        rest = _parse(flag_values, argv)
        if len(rest) != (positional is not None):
            found = " ".join(rest) or "nothing"
            raise UserError(f"expected {positional or 'flags only'}, found {found!r}; see --help")
        if "deterministic" in flag_values and flag_values["deterministic"].value:
            backend.xla_flags(backend.DETERMINISTIC)
        backend.set_up_jax(shares_cores(flag_values) if shares_cores else _runs(flag_values) > 1)
        if "coordinator" in flag_values:
            given = ("coordinator", "num_processes", "process_id", "peer_timeout")
            processes.join(*(flag_values[name].value for name in given))
        action(flag_values, rest[0] if rest else None, argv)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Preempted as stopped:
        print(f"preempted: {stopped}", file=sys.stderr)
        return EXIT_STATUS
    except KeyboardInterrupt:
        print(f"interrupted; {_goes_on(flag_values)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # what read the output, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        lack, remedy = lacking(error), f"once there is room, {_goes_on(flag_values)}"
        if lack is None and REFUSED:
            lack, remedy = str(REFUSED[-1]), f"once the data are put right, {_goes_on(flag_values)}"
        if lack is None:
            lack, remedy = out_of_memory(error), SMALLER
        if processes.several():
            processes.leave(error, lack)
        if lack is None:
            raise
        print(f"error: {lack}; what was written before is whole; {remedy}", file=sys.stderr)
        return 2
    finally:
        flag_values.unparse_flags()
    return 0


def _goes_on(flag_values: flags.FlagValues) -> str:
    """How what was interrupted goes on, in words."""
    return "the same --workdir with --resume goes on" if "resume" in flag_values else "the same command goes on"


def _parse(flag_values: flags.FlagValues, argv: list[str]) -> list[str]:
    try:
        for name in flag_values:
            flag_values[name].unparse()
        return flag_values(["script", *argv])[1:]
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error


def _runs(flag_values: flags.FlagValues) -> int:
    """How many runs a program of the script will have, or in how many parts --mesh splits the batch of each."""
    given = {name: flag_values[name].value for name in ("seeds", "runs", "learning_rates") if name in flag_values}
    runs = (given.get("seeds") or given.get("runs") or 1) * len(given.get("learning_rates") or [1])
    return max(runs, (read_mesh(flag_values.mesh).data or 1) if "mesh" in flag_values else 1)


def _rates(words: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise UserError(f"--learning_rates={','.join(words)}; expected numbers, as in 1e-3,3e-3") from error


def _help(flag_values: flags.FlagValues, words: str) -> str:
    lines = [words.strip(), "", "Flags:"]
    told: dict[str, str] = {}
    for name in flag_values:
        default, words = flag_values[name].default, " ".join(flag_values[name].help.split())
        shown = "" if default is None else f" [{','.join(default) if isinstance(default, list) else default}]"
        if words.startswith(BESIDE) and told:
            told[next(reversed(told))] += f"; --{name} {words.removeprefix(BESIDE)}{shown}"
        else:
            told[name] = f"{words.removeprefix(BESIDE)}{shown}"
    for name, words in told.items():
        wrapped = textwrap.wrap(words, 96, break_long_words=False, break_on_hyphens=False)
        lines += [f"  --{name:<17} {wrapped[0]}", *(" " * 22 + line for line in wrapped[1:])]
    return "\n".join(lines)

"""Programs to be trained as jobs, on this machine or a Slurm cluster, through submitit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments import backend
from experiments.progress import progress_bar
from seqjax import UserError, spec
from seqjax.spec import did_you_mean
from seqjax.training import Config, prepare, processes, train
from seqjax.training.mesh import read_mesh
from seqjax.training.record import is_finished, read_json, write_json
from seqjax.training.signals import as_interrupts

LOCAL = ("jobs", "setup")  # what local(...) takes
LISTS = ("setup", "teardown", "srun_args")  # of which submitit wants lists, where a text is one command
A_YEAR = 365 * 24 * 60  # minutes; submitit would end a job of its own after two


def define_launch(flag_values: flags.FlagValues) -> None:
    """Define --launch."""
    words = "each program a job: local(jobs=2), slurm(partition='gpu', time=60, gpus_per_node=4)"
    flags.DEFINE_string("launch", None, words, flag_values=flag_values)


class Job:
    """What a job does: train one program, or go on with it; Slurm puts it back in the queue before its time is up."""

    def __call__(
        self, config: dict[str, Any], mesh: str, directory: str, command: str, visible: str | None, timeout: int
    ) -> None:
        """Train; of several tasks of a job, all take part, and wait for each other so many seconds."""
        if "SUBMITIT_LOCAL_JOB_ID" in os.environ:  # submitit hides the GPUs from a local job
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            os.environ |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
        settings = Config(**config)
        backend.set_up_jax(max(len(settings.runs), read_mesh(mesh).data or 1) > 1)
        processes.join(None, None, None, timeout=timeout)

        def tell(step: int, words: str) -> None:
            print(f"step {step}: {words}", flush=True)

        try:
            train(prepare(settings, mesh), Path(directory), command=command, resume=True, progress=tell)
        except Exception as error:
            if not processes.several():
                raise
            processes.leave(error)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit submits anew when Slurm takes the job away; it goes on from the run's last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, *arguments)


class Launch(NamedTuple):
    """What --launch asks for.

    executor: folder -> an executor of submitit
    at_once:  how many jobs may be under way; None where the cluster decides
    """

    executor: Callable[[Path], Any]
    at_once: int | None


def read_launch(text: str) -> Launch:
    """'local(jobs=2)' or 'slurm(partition="gpu", time=60)' -> Launch; nothing is written.

    Raises:
        UserError: neither 'local' nor 'slurm', an option that it does not have, no Slurm here, no submitit.
    """
    where = f"--launch={text!r}"
    with spec.prefixed(where):
        wanted = spec.parse(text)
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # else it closes the handlers of all others
    try:
        import submitit
    except ImportError as error:
        raise UserError(f"{where} needs submitit: pip install 'seqjax[slurm]'") from error
    kinds = {"local": (submitit.LocalExecutor, LOCAL), "slurm": (submitit.SlurmExecutor, None)}
    if wanted.name not in kinds:
        raise UserError(f"{where}{did_you_mean(wanted.name, list(kinds))}expected local or slurm, with options")
    executor, known = kinds[wanted.name]
    known = sorted(known or executor._valid_parameters())
    for name in wanted.arguments:
        if name not in known:
            raise UserError(f"{where}: no option {name!r}{did_you_mean(name, known)}options: {', '.join(known)}")
    if executor.affinity() < 0:
        raise UserError(
            f"{where}: there is no srun, so no Slurm cluster here; --launch=local runs the jobs on this machine"
        )
    given = {name: _listed(where, name, value) if name in LISTS else value for name, value in wanted.arguments.items()}
    options = {"job_name": "seqjax", **given}
    at_once = None
    if wanted.name == "local":
        at_once = given.get("jobs", 1)
        options = {"timeout_min": A_YEAR, "setup": given.get("setup", [])}
        if type(at_once) is not int or at_once < 1:
            raise UserError(f"{where}: jobs={at_once!r}; expected how many run at a time, at least 1")

    def make(folder: Path) -> Any:
        made = executor(folder=folder)
        made.update_parameters(**options)
        return made

    return Launch(make, at_once)


def mesh_here(flag_values: flags.FlagValues) -> str:
    """The --mesh by which this process prepares programs; 'auto' where a cluster trains them, by devices of its own."""
    asked = flag_values.launch if "launch" in flag_values else None
    return "auto" if asked and read_launch(asked).at_once is None else flag_values.mesh


def _listed(where: str, name: str, value: Any) -> list[str]:
    """A command, or several, as a list. Raises UserError for anything else."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not all(isinstance(each, str) for each in found):
        raise UserError(f"{where}: {name}={value!r}; expected a text, or a list of them")
    return list(found)


def train_apart(
    launch: Launch,
    folder: Path,
    programs: dict[str, tuple[Config, Path]],
    flag_values: flags.FlagValues,
    command: str,
) -> dict[str, str]:
    """Train each program in its run directory as a job, if it is not finished; of those that died, why.

    Every program has steps: without any it had no end that a job could tell.

    folder:      for scripts and logs of the jobs
    flag_values: --mesh and --peer_timeout
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    work = {
        name: (
            config._asdict(),
            flag_values.mesh,
            str(directory.absolute()),
            command,
            visible,
            flag_values.peer_timeout,
        )
        for name, (config, directory) in programs.items()
    }
    with progress_bar(len(work), "job") as show:
        return run_jobs(launch, folder, work, lambda name: is_finished(*programs[name]), show)


def require_none_died(died: dict[str, str], count: int) -> None:
    """Name the jobs that did, and why. Raises UserError if there are any."""
    for name, why in died.items():
        print(f"died: {name}: {why}", file=sys.stderr)
    if died:
        raise UserError(f"{len(died)} of {count} jobs died; the same command again runs those alone")


@as_interrupts()
def run_jobs(
    launch: Launch,
    folder: Path,
    work: dict[str, tuple],
    finished: Callable[[str], bool],
    show: Callable[[int, str, str], None],
) -> dict[str, str]:
    """Submit what is not finished, wait for all, and tell of each that died its name and why.

    A job that was submitted before and is still there is waited for, not submitted again. SIGINT and SIGTERM
    end local jobs; those of Slurm go on.

    Args:
        launch: what --launch asks for.
        folder: for scripts and logs of the jobs.
        work: name -> the arguments of `Job`.
        finished: whether the work of a name is done.
        show: (jobs that have ended, the names under way, words) -> None.
    """
    executor, record = launch.executor(folder), folder / "jobs.json"
    numbers = read_json(record) if record.exists() else {}
    waiting = [name for name in work if not finished(name)]
    running, died, ended = {}, {}, len(work) - len(waiting)
    for name in [name for name in waiting if name in numbers]:
        job = executor.job_class(folder=executor.folder, job_id=numbers[name])
        if not job.done():
            running[name] = job
            waiting.remove(name)
    try:
        while waiting or running:
            chosen = waiting if launch.at_once is None else waiting[: max(launch.at_once - len(running), 0)]
            if chosen:
                waiting = waiting[len(chosen) :]
                with executor.batch():
                    submitted = {name: executor.submit(Job(), *work[name]) for name in chosen}
                running |= submitted
                numbers |= {name: job.job_id for name, job in submitted.items()}
                write_json(record, numbers)
            show(ended, f"{len(running)} under way, {len(waiting)} waiting", f"{len(died)} died" if died else "")
            time.sleep(0.5)
            for name in [name for name, job in running.items() if job.done()]:
                job = running.pop(name)
                ended += 1
                if not finished(name):
                    died[name] = _why(job)
    except BaseException:
        for job in running.values():
            if launch.at_once is not None:
                job.cancel(check=False)
        raise
    show(ended, "", "")
    return died


def _why(job: Any) -> str:
    """The last line that a job which died has written, and where the rest is."""
    lines = [line for line in (job.stderr() or "").splitlines() if line.strip()]
    return f"{lines[-1].strip()[:200] if lines else 'without a word'} (log: {job.paths.stderr})"

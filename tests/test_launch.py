"""--launch: what it takes, and which jobs are submitted, waited for and named; jobs themselves are in tests/scale."""

import json
import os
import re
import signal

import pytest
from small_runs import SMALL

from experiments import benchmark, reproduce
from experiments.launch import Job, Launch, read_launch, run_jobs
from seqjax.training import prepare, train
from seqjax.training.record import is_finished
from seqjax.types import UserError


@pytest.mark.parametrize(
    ("launch", "words"),
    [
        ("slrum", "--launch='slrum'; did you mean 'slurm'? expected local or slurm, with options"),
        ("local(job=2)", "no option 'job'; did you mean 'jobs'? options: jobs, setup"),
        ("local(jobs=0)", "jobs=0; expected how many run at a time, at least 1"),
        ("local(2)", "has an argument without a name"),
        ("slurm(patition='gpu')", "no option 'patition'; did you mean 'partition'? options: account,"),
        ("slurm", "there is no srun, so no Slurm cluster here; --launch=local runs the jobs on this machine"),
    ],
)
def test_a_wrong_launch_is_one_line_and_writes_nothing(launch, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=re.escape(words)):
        read_launch(launch)
    assert benchmark.main([f"--launch={launch}", "--steps=1", "--lengths=3", f"--workdir={tmp_path / 'run'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """As if Slurm were here."""
    (tmp_path / "srun").write_text("")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.parametrize("script", [benchmark, reproduce])
def test_devices_of_a_cluster_are_its_jobs_affair(script, cluster, tmp_path, capsys, monkeypatch):
    """A machine that submits need not have them; one that runs the jobs itself must."""
    submitted = {}

    def died(launch, folder, work, finished, show):
        submitted.update(work)
        return dict.fromkeys(work, "it had to")

    monkeypatch.setattr("experiments.launch.run_jobs", died)
    flags = {
        benchmark: ["--cells=rnn(hidden=3)", "--task=adding", "--lengths=3", "--steps=1"],
        reproduce: ["--paper=hochreiter1997", "--rows=temporal-order-6a", f"--results={tmp_path}", "--budget=smoke"],
    }[script]
    flags += ["--mesh=run=9", f"--workdir={tmp_path / 'run'}"]
    assert script.main([*flags, "--launch=local"]) == 2 and not submitted
    assert "--mesh='run=9' needs 9 devices" in capsys.readouterr().err
    assert script.main([*flags, "--launch=slurm"]) == 2
    assert ": it had to" in capsys.readouterr().err and [mesh for _, mesh, *_ in submitted.values()] == ["run=9"]


@pytest.mark.parametrize("kind", ["local", "slurm"])
def test_a_command_to_begin_with_may_be_a_text(kind, cluster, tmp_path):
    """As may be several in a list; submitit takes a text for a list of letters, or not at all."""
    for given, listed in (("'module load cuda'", ["module load cuda"]), ("('a b', 'c')", ["a b", "c"])):
        executor = read_launch(f"{kind}(setup={given})").executor(tmp_path / "jobs")
        assert executor.parameters["setup"] == listed
    with pytest.raises(UserError, match=re.escape("setup=3; expected a text, or a list of them")):
        read_launch(f"{kind}(setup=3)")


@pytest.mark.parametrize(("seeds", "mesh", "shared"), [(1, "auto", False), (1, "data=2", True), (2, "auto", True)])
def test_a_job_shares_the_cores_as_the_command_itself_would(seeds, mesh, shared, monkeypatch):
    """Out among several runs, or among the parts of the one run's batch."""
    asked = []
    monkeypatch.setattr("experiments.launch.backend.set_up_jax", asked.append)
    for name in ("processes.join", "prepare", "train"):
        monkeypatch.setattr(f"experiments.launch.{name}", lambda *_, **__: None)
    config = SMALL._replace(seeds=seeds, learning_rates=(0.1,))
    Job()(config._asdict(), mesh, "run", "command", None, 9)
    assert asked == [shared]


def test_jobs_without_steps_are_one_line_and_write_nothing(tmp_path, capsys):
    """So that the same directory does for those with some."""
    flags = ["--launch=local", "--cells=rnn(hidden=3)", "--lengths=3", f"--workdir={tmp_path / 'run'}"]
    assert benchmark.main([*flags, "--steps=0"]) == 2
    assert "--steps=0 with --launch; expected at least 1" in capsys.readouterr().err and not list(tmp_path.iterdir())


class Jobs:
    """An executor whose jobs do as they are told: end at once, die, or still be there from before."""

    def __init__(self, folder):
        self.folder, self.submitted, self.at_once, self.cancelled = folder, [], 0, []
        self.done, self.under_way, self.ended, self.dying = set(), set(), set(), {"id-bad"}
        folder.mkdir(exist_ok=True)

    def batch(self):
        return __import__("contextlib").nullcontext()

    def submit(self, job, name):
        self.submitted.append(name)
        return self.job_class(self.folder, f"id-{name}")

    def job_class(self, folder, job_id):
        executor = self

        class Job:
            paths = type("Paths", (), {"stderr": "x.err"})

            def __init__(self):
                self.job_id, self.asked = job_id, 0
                executor.under_way.add(job_id)
                executor.at_once = max(executor.at_once, len(executor.under_way))

            def done(self):
                self.asked += 1
                if job_id in executor.ended or self.asked > 1:
                    executor.under_way.discard(job_id)
                    executor.ended.add(job_id)
                    if job_id not in executor.dying:
                        executor.done.add(job_id.removeprefix("id-"))
                    return True
                return False

            def stderr(self):
                return "Traceback\nValueError: no luck\n\n"

            def cancel(self, check):
                executor.cancelled.append(job_id)

        return Job()


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.launch.time.sleep", lambda _: None)
    return Jobs(tmp_path / "jobs")


def test_the_dead_are_named_and_run_again_alone(jobs):
    launch, work = Launch(lambda _: jobs, 2), {name: (name,) for name in ("a", "bad", "c", "d")}
    died = run_jobs(launch, jobs.folder, work, jobs.done.__contains__, lambda *_: None)
    assert died == {"bad": "ValueError: no luck (log: x.err)"} and jobs.at_once == 2
    assert sorted(jobs.submitted) == ["a", "bad", "c", "d"]
    jobs.submitted.clear()
    jobs.dying.clear()  # it ends well this time
    assert run_jobs(launch, jobs.folder, work, jobs.done.__contains__, lambda *_: None) == {}
    assert jobs.submitted == ["bad"] and jobs.done == set(work)


def test_a_run_that_shall_go_on_beyond_its_end_is_not_finished(tmp_path):
    """As `reproduce` and `--resume` have it, where a result of fewer steps is not the end."""
    directory, more = tmp_path / "run", SMALL._replace(steps=2 * SMALL.steps)
    assert not is_finished(SMALL, directory)
    train(prepare(SMALL), directory, command="test")
    assert is_finished(SMALL, directory) and not is_finished(more, directory)


def test_a_damaged_list_of_jobs_is_one_line(jobs):
    (jobs.folder / "jobs.json").write_text('{"a": "id')
    with pytest.raises(UserError, match=r"jobs\.json is damaged"):
        run_jobs(Launch(lambda _: jobs, 1), jobs.folder, {"a": ("a",)}, jobs.done.__contains__, lambda *_: None)


def test_what_the_cluster_still_has_is_waited_for(jobs):
    (jobs.folder / "jobs.json").write_text(json.dumps({"a": "id-a"}))
    launch = Launch(lambda _: jobs, None)
    assert run_jobs(launch, jobs.folder, {"a": ("a",), "b": ("b",)}, jobs.done.__contains__, lambda *_: None) == {}
    assert jobs.submitted == ["b"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("at_once", "cancelled"), [(1, ["id-a"]), (None, [])])
def test_an_interruption_ends_the_jobs_of_this_machine_alone(at_once, cancelled, number, jobs):
    """Also where a shell has started it deaf to SIGINT."""

    def show(*_):
        if jobs.submitted:
            os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs(Launch(lambda _: jobs, at_once), jobs.folder, {"a": ("a",)}, jobs.done.__contains__, show)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    assert jobs.cancelled == cancelled

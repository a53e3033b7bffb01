"""--launch of benchmark and reproduce: jobs of their own, one report, and the dead ones again, alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TINY = ["--steps=4", "--eval_every=2", "--eval_size=8", "--batch_size=4", "--probe_every=2", "--checkpoint_every=2"]
TINY += ["--seeds=2", "--learning_rates=1e-2", "--task=parity", "--lengths=3"]
FRAIL = """
import os
from seqjax import Cell
from seqjax.cells.rnn import rnn
def frail(hidden: int = 3) -> Cell:
    cell = rnn(hidden)
    def init(key, size):
        if "SUBMITIT_EXECUTOR" in os.environ and not os.path.exists({medicine!r}):
            os.kill(os.getpid(), 9)
        return cell.init(key, size)
    return cell._replace(init=init)
"""
# A cluster of one machine: sbatch runs what it is given once for each place of the array, and says its number.
SBATCH = """#!/bin/bash
[ -n "$FAKE_LOG" ] && cat "${@: -1}" >> "$FAKE_LOG"
for place in $(seq 0 $FAKE_LAST); do
  export SLURM_JOB_ID=42$place SLURM_ARRAY_JOB_ID=42 SLURM_ARRAY_TASK_ID=$place SLURM_JOB_NODELIST=here SLURM_PROCID=0
  export SLURM_JOB_NUM_NODES=1 SLURM_NTASKS=1 SLURM_LOCALID=0 SLURM_NODEID=0
  setsid bash "${@: -1}" > /dev/null 2>&1 < /dev/null &
done
echo Submitted batch job 42
"""
SRUN = """#!/bin/bash
while [ "${1#-}" != "$1" ]; do
  case $1 in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
"""


def launched(directory, how, cells, environment):
    return run(
        "benchmark", [*TINY, f"--cells={cells}", f"--workdir={directory}", f"--launch={how}"], directory, environment
    )


def run(script, flags, directory, environment):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{script}", *flags],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=500,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{directory.parent}"} | environment,
    )


def test_a_job_that_died_is_named_and_run_again_alone(tmp_path):
    medicine, directory = tmp_path / "medicine", tmp_path / "run"
    (tmp_path / "frail.py").write_text(FRAIL.format(medicine=str(medicine)))
    done = launched(directory, "local(jobs=2)", "rnn(hidden=3);frail.frail()", {})
    assert done.returncode == 2, done.stderr
    assert "died: 01_frail.frail__parity-length-3: " in done.stderr
    assert "error: 1 of 2 jobs died; the same command again runs those alone" in done.stderr
    assert "rnn(hidden=3)" in done.stdout and "report: " in done.stdout  # of what there is
    (sound,) = directory.glob("00*/result.json")
    before = sound.stat().st_mtime_ns
    medicine.write_text("")
    done = launched(directory, "local(jobs=2)", "rnn(hidden=3);frail.frail()", {})
    assert done.returncode == 0, done.stderr
    assert "frail.frail(" in done.stdout and "rnn(hidden=3)" in done.stdout
    assert sound.stat().st_mtime_ns == before and len(list(directory.glob("*/result.json"))) == 2


def test_rows_of_a_paper_are_jobs_and_leave_their_records(tmp_path):
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6?", "--budget=smoke", f"--workdir={tmp_path / 'runs'}"]
    flags += [f"--results={tmp_path / 'results'}", "--launch=local(jobs=2)"]
    done = run("reproduce", flags, tmp_path, {})
    assert done.returncode == 0, done.stderr
    kept = [json.loads(path.read_text()) for path in sorted((tmp_path / "results").rglob("*.json"))]
    assert [each["row"] for each in kept] == ["temporal-order-6a", "temporal-order-6b"]
    assert all("--launch" in each["command"] and each["runs"][0]["steps"] == 20 for each in kept)
    assert "`temporal-order-6b` | smoke" in (tmp_path / "results" / "RESULTS.md").read_text()


def test_slurm_is_handed_an_array_of_jobs_with_the_options_given(tmp_path):
    """By programs of Slurm's names that run the jobs here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/bash\necho 'JobID|State|NodeList'\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_LOG": str(tmp_path / "log"), "FAKE_LAST": "1"}
    how = "slurm(partition='gpu', time=60, gpus_per_node=4)"
    done = launched(tmp_path / "run", how, "rnn(hidden=3);gru(hidden=3)", environment)
    assert done.returncode == 0, done.stderr
    script = (tmp_path / "log").read_text()
    for line in ("--partition=gpu", "--time=60", "--gpus-per-node=4", "--array=0-1", "--job-name=seqjax"):
        assert line in script
    assert set(json.loads((tmp_path / "run/jobs/jobs.json").read_text()).values()) == {"42_0", "42_1"}
    assert len(list((tmp_path / "run").glob("*/result.json"))) == 2 and "gru(hidden=3)" in done.stdout

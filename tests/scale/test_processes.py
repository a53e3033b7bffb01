"""The same training on one device, on eight, in two processes and in four; saved by some and continued by others."""

import subprocess
import sys
from pathlib import Path

import pytest
from launching import assert_close, assert_equal, free_port, told, train_with

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process, one device."""
    return told(train_with(tmp_path_factory.mktemp("alone") / "run"))


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """One process, four devices, every batch in halves."""
    return told(train_with(tmp_path_factory.mktemp("split") / "run", devices=4, mesh="run=2,data=2"))


@pytest.mark.parametrize(("count", "devices"), [(1, 4), (2, 1), (2, 2), (4, 1)])
def test_runs_dealt_out_are_the_same_to_the_bit(count, devices, alone, tmp_path):
    assert_equal(alone, told(train_with(tmp_path / "run", count, devices)))


def test_eight_devices_with_batches_in_halves_are_close(alone, tmp_path):
    assert_close(alone, told(train_with(tmp_path / "run", devices=8, mesh="run=4,data=2")))


@pytest.mark.parametrize(("count", "devices"), [(2, 2), (4, 1)])
def test_a_split_batch_is_the_same_to_the_bit_in_however_many_processes(count, devices, split, alone, tmp_path):
    """Two summands have one sum, whoever adds them."""
    here = told(train_with(tmp_path / "run", count, devices, "run=2,data=2"))
    assert_equal(split, here)
    assert_close(alone, here)


def test_a_batch_in_thirds_over_three_processes_is_close(alone, tmp_path):
    """A sum of three by Gloo and by one process's threads may differ in the last bit."""
    assert_close(alone, told(train_with(tmp_path / "run", 3, 1, "data=3")))


@pytest.mark.parametrize(
    ("saved_by", "continued_by"),
    [((1, 1), (2, 2)), ((2, 2), (1, 1)), ((1, 1), (4, 1)), ((4, 1), (2, 1)), ((1, 2), (1, 4))],
)
def test_a_checkpoint_is_continued_by_other_processes_and_devices(saved_by, continued_by, alone, tmp_path):
    """Stopped at step 4 of 6 and gone on with elsewhere: records, checkpoints and parameters to the bit."""
    train_with(tmp_path / "run", *saved_by, stop=4)
    assert (tmp_path / "run/checkpoints/4").is_dir() and not (tmp_path / "run/result.json").exists()
    assert_equal(alone, told(train_with(tmp_path / "run", *continued_by)))


JOIN = """
import jax
from seqjax.training import processes
processes.join(None, None, None, 60)
print(jax.process_count())
"""


@pytest.mark.parametrize("cluster", ["Slurm", "Open MPI"])
def test_processes_of_a_cluster_find_each_other(cluster):
    """Two processes that know no more than the variables that the cluster sets."""
    job, children = free_port() % 4096, []
    for number in "01":
        told = {
            "Slurm": {"SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
            | {"SLURM_PROCID": number, "SLURM_LOCALID": number},
            "Open MPI": {"OMPI_MCA_orte_hnp_uri": f"{job * 4096}.0;tcp://127.0.0.1:1", "OMPI_COMM_WORLD_SIZE": "2"}
            | {"OMPI_COMM_WORLD_RANK": number, "OMPI_COMM_WORLD_LOCAL_RANK": number},
        }[cluster]
        root = Path(__file__).parents[2]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu", **told}
        children.append(subprocess.Popen([sys.executable, "-c", JOIN], stdout=subprocess.PIPE, env=environment))
    assert [child.communicate(timeout=120)[0].split() for child in children] == [[b"2"], [b"2"]]


def test_nobody_there_is_one_line():
    code = "from experiments import train; raise SystemExit(train.main(['--coordinator=127.0.0.1:%d', "
    code += "'--num_processes=2', '--process_id=%d', '--peer_timeout=1']))"
    code = "import seqjax.training.processes as p; p.LEAST_PATIENCE = 2\n" + code
    port = free_port()
    done = subprocess.run([sys.executable, "-c", code % (port, 1)], capture_output=True, text=True)
    assert done.returncode == 2 and "no process 0 there in 2 s" in done.stderr and done.stderr.count("\n") == 1

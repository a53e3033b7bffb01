"""Devices: the mesh of --mesh, batches that are split over it, and how processes are told from a laptop."""

import re

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from small_runs import SMALL, run_all

from seqjax.models import sequence_model
from seqjax.tasks.scoring import cross_entropy
from seqjax.training import build_cell, prepare, processes
from seqjax.training.layout import make_layout
from seqjax.training.mesh import Wanted, make_mesh, read_mesh
from seqjax.training.split import mean_over_shares, split_model
from seqjax.types import Batch, UserError

# Sequences of differing lengths, a mask that differs from one to the next, and an evaluation that does not divide.
VARIABLE = "copy_memory(length=4, symbols=3, tokens=2, variant='variable')"
UNEVEN = SMALL._replace(cell="rnn(hidden=3)", task=VARIABLE, batch_size=6, eval_size=7, steps=4)


def test_a_mesh_is_read():
    assert read_mesh("auto") == Wanted() and read_mesh("auto,vmap") == Wanted(by="vmap")
    assert read_mesh("run=4, data=2,map") == Wanted(4, 2, "map") == read_mesh("map,data=2,run=4")


@pytest.mark.parametrize(
    ("mesh", "words"),
    [
        ("rum=4", "--mesh='rum=4': no axis 'rum'; did you mean 'run'? axes: run, data"),
        ("run=0", "run=0; expected a whole number of devices from 1"),
        ("run=1.5", "run=1.5; expected a whole number"),
        ("run=True", "run=True; expected a whole number"),
        ("run=__import__('os')", "is not a plain value"),
        ("run=1,run=1", "expected 'auto', or axes as in 'run=4,data=2'"),
        ("run=1,run=2", "gives 'run' twice"),
        ("run", "expected 'auto', or axes"),
        ("map,vmap", "expected 'auto', or axes"),
        ("", "expected 'auto', or axes"),
        ("run=2,data=2", "needs 4 devices, run=2 x data=2; there are 2; JAX_NUM_CPU_DEVICES=4 simulates them"),
        ("data=3", "needs 3 devices"),
    ],
)
def test_a_wrong_mesh_is_one_line(mesh, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        make_mesh(mesh, 4, 6)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("--mesh")


def test_a_batch_must_divide():
    with pytest.raises(UserError, match="--batch_size=5 does not divide into data=2 of --mesh='data=2'"):
        prepare(SMALL._replace(batch_size=5), "data=2")


@pytest.mark.parametrize(
    ("mesh", "runs", "shape"),
    [
        ("auto", 5, {"run": 2, "data": 1}),
        ("auto", 1, {"run": 1, "data": 1}),
        ("data=2", 5, {"run": 1, "data": 2}),
        ("run=2", 1, {"run": 2, "data": 1}),
    ],
)
def test_places_cover_the_runs_once(mesh, runs, shape):
    layout = make_layout(mesh, runs, 4)
    assert dict(layout.mesh.shape) == shape and layout.by == "map"
    assert sorted(layout.slots[layout.slots >= 0]) == list(range(runs))
    assert len(layout.slots) % shape["run"] == 0


@pytest.fixture(scope="module")
def alone():
    """The runs of UNEVEN on one device, one after the other."""
    return run_all(UNEVEN, "run=1,map")


def test_runs_on_two_devices_are_the_same_to_the_bit():
    """Each device has two of the four; the program of one run is the same, and so is every sum in it.

    As long as XLA compiles it the same, which it need not for every task: see the next test.
    """
    jax.tree.map(np.testing.assert_array_equal, run_all(SMALL, "run=1,map"), run_all(SMALL, "run=2,map"))


@pytest.mark.parametrize("mesh", ["run=2", "run=1,vmap", "data=2"])
def test_runs_side_by_side_and_batches_in_halves_differ_in_the_last_bits(mesh, alone):
    """Other programs, and other orders of sums over the batch: parameters after four updates to 1e-6."""
    other = run_all(UNEVEN, mesh)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), alone, other)


def test_the_gradient_of_a_split_batch_is_exact(float64):
    """Two halves of unequal masks, with dropout: loss and gradient to 1e-12, which the means of both halves are not."""
    model = sequence_model(build_cell("rnn(hidden=3)"), 4, 4, layers=2, dropout=0.5, tokens=True)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.jit(model.init)(jax.random.key(0)))
    tokens = np.random.default_rng(0).integers(0, 4, (5, 6))
    mask = np.ones((5, 6)) * (np.arange(6) > 1)
    batch = Batch(tokens, tokens[::-1], mask, np.array([5, 4, 3, 5, 2, 1]))

    def loss(params, model, batch):
        outputs, _ = model.apply(params, batch.inputs, batch.lengths, dropout_key=jax.random.key(2))
        return cross_entropy(outputs, batch)

    def split(batch):
        return mean_over_shares(jax.value_and_grad(loss)(params, split_model(model, 2), batch), 2)

    whole = jax.jit(lambda batch: jax.value_and_grad(loss)(params, model, batch))(batch)
    mesh = make_layout("data=2", 1, 6).mesh
    spread = jax.jit(jax.shard_map(split, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False))(batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), whole, spread)
    halves = [jax.tree.map(lambda leaf, n=n: leaf[..., n], batch) for n in (np.s_[:3], np.s_[3:])]
    one = jax.jit(lambda half: loss(params, model, half))
    assert (
        abs((one(halves[0]) + one(halves[1])) / 2 - whole[0]) > 1e-3
    )  # what a mean over the devices' own losses would have been


SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


def test_a_cluster_is_told_from_a_laptop():
    assert processes.cluster({}) is None
    assert processes.cluster(SLURM | {"SLURM_NTASKS": "2"}) == "Slurm"
    assert processes.cluster(SLURM | {"SLURM_NTASKS": "1"}) is None  # one task: nobody to wait for
    assert processes.cluster({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}) is None  # sbatch's own shell, no task of srun
    ompi = {"OMPI_MCA_orte_hnp_uri": "1;tcp://127.0.0.1:1", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}
    assert processes.cluster(ompi) == "Open MPI"
    assert processes.cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) is None  # any pod
    assert processes.cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}) == "Kubernetes"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, 2, None, 9), "--coordinator and --process_id missing; a run over processes needs"),
        (("here:1", None, 1, 9), "--num_processes missing"),
        (("here", 2, 1, 9), "--coordinator='here'; expected host:port"),
        (("here:1", 2, 2, 9), "--process_id=2 --num_processes=2; expected a number from 0 to 1"),
        (("here:1", 2, 1, 0), "--peer_timeout=0; expected seconds, at least 1"),
    ],
)
def test_processes_wrongly_told_are_one_line(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        processes.join(*given)


def test_one_process_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(processes, "cluster", lambda: "Slurm")
    assert processes.join(None, 1, None, 9) is None and not processes.several()
    assert processes.by_first(lambda: {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("batch_size", "mesh", "by"), [(4, "auto", "vmap"), (400, "auto", "map"), (4, "map", "map"), (400, "vmap", "vmap")]
)
def test_small_runs_lie_side_by_side_on_a_cpu(batch_size, mesh, by):
    """By the weights times the batch, where --mesh leaves it open."""
    settings = SMALL._replace(cell="rnn(hidden=8)", task="adding(length=3)", batch_size=batch_size, seeds=3)
    assert prepare(settings, mesh).layout.by == by

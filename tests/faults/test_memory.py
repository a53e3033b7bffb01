"""Sizes that no memory holds: refused with the estimate, before anything is allocated; what fits is not refused."""

import inspect
import resource

import jax
import jax.numpy as jnp
import pytest
import small
import small_data

from experiments import train as train_script
from seqjax import Cell, Task, cells, data, spec, tasks
from seqjax.spec import Spec
from seqjax.training import memory, prepare
from seqjax.types import UserError

HUGE = {
    "--cell=lstm(hidden=1000000000000)": r"state 6\.4e\+10 PB.*expected a smaller cell",
    "--task=adding(length=1000000000000000)": r"batch \d+ PB.*expected shorter sequences, or a smaller --batch_size",
    "--batch_size=1000000000000": r"batch .* TB",
    "--eval_size=1000000000000": r"evaluation .* TB.*--eval_size",
    "--probe_size=1000000000000": r"\(state [^,]*, probe .* PB.*--probe_size",
    "--task=adding(length=20000000)": r"gradient .* GB.*--strategy=checkpointed",
    "--task=copy_memory(symbols=1000000000000)": "smaller cell",
    "--task=adding(length=1" + "0" * 400 + ")": "length is a number of 401 digits; expected less than",
}


@pytest.mark.parametrize("flag", HUGE)
def test_it_is_refused_with_the_estimate(flag, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "at_hand", lambda: 16 * 10**9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert train_script.main(["--eval_size=8", flag, f"--workdir={tmp_path / 'run'}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and not (tmp_path / "run").exists()
    if "401 digits" not in HUGE[flag]:
        assert "needs at least" in err and "and there are 16 GB" in err
    import re

    assert re.search(HUGE[flag], err), err
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


NUMBERS = [
    (what, name, argument)
    for what, room in (("cell", cells), ("task", tasks), ("task", data))
    for name in spec.names([room])
    for argument, parameter in inspect.signature(spec.factory(name, [room])).parameters.items()
    if "int" in str(parameter.annotation)
]


@pytest.mark.slow
@pytest.mark.parametrize("what, name, argument", NUMBERS)
def test_no_argument_of_any_cell_or_task_allocates_or_hangs(
    what, name, argument, record_property, monkeypatch, tmp_path
):
    """Each whole number of each factory, to beyond what floats hold: built or refused."""
    monkeypatch.setattr(memory, "at_hand", lambda: 16 * 10**9)
    given = {}
    if name in small_data.ROWS:
        given = {"data": small_data.both_written(name, tmp_path / "d")} | small_data.ARGUMENTS.get(name, {})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, sizes = 0, [1, 10**7, 10**10, 2**52, 2**53]
    for number in sizes:
        try:
            prepare(small.RUN._replace(**{what: str(Spec(name, given | {argument: number}))}), "run=1,map")
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000
    record_property("absurd sizes tried", len(sizes))
    record_property("absurd sizes refused", refused)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm(hidden=32)", "gru(hidden=32)", "rnn(hidden=32)"])
@pytest.mark.parametrize("strategy", ["auto", "scan", "checkpointed"])
def test_the_estimate_is_below_what_the_compiler_takes(cell, strategy):
    """So that nothing is refused that could have run; and for the scan not by much."""
    config = small.RUN._replace(cell=cell, task="adding(length=200)", strategy=strategy, batch_size=32)
    prepared = prepare(config, "run=1,map")
    task, model = prepared.task, prepared.model
    params = jax.eval_shape(model.init, jax.random.key(0))
    batch = jax.eval_shape(lambda: task.sample(jax.random.key(0), config.batch_size))
    kept = memory.size(jax.eval_shape(lambda p, b: memory._residuals(task, model, p, b), params, batch))
    loss = lambda p, b: task.loss(model.apply(p, b.inputs, b.lengths)[0], b)  # noqa: E731
    taken = jax.jit(jax.grad(loss)).lower(params, batch).compile().memory_analysis().temp_size_in_bytes
    assert kept <= taken
    assert strategy != "scan" or kept > taken / 3


@pytest.mark.parametrize("name", ["eval_size", "probe_size"])
def test_of_a_split_no_more_than_it_holds_is_counted(name, tmp_path):
    """A large number stands for all of it."""
    task = str(Spec("gesture", {"data": small_data.both_written("gesture", tmp_path / "d")}))
    prepare(small.RUN._replace(task=task, **{name: 10**12}), "run=1,map")


def test_the_runs_at_a_time_are_counted(monkeypatch):
    monkeypatch.setattr(memory, "at_hand", lambda: 0)

    def needed(mesh, seeds):
        with pytest.raises(UserError, match=r"needs at least .* \(state ([\d.]+) kB\)") as caught:
            prepare(small.RUN._replace(cell="lstm(hidden=32)", seeds=seeds, learning_rates=(0.1,)), mesh)
        return float(str(caught.value).split("state ")[1].split(" kB")[0])

    one, all_at_once = needed("run=1,map", 4), needed("run=1,vmap", 4)
    assert needed("run=1,map", 1) < one < all_at_once == pytest.approx(4 * needed("run=1,vmap", 1), rel=0.01)


def test_shapes_of_any_size_are_counted():
    one = jax.ShapeDtypeStruct((10**9, 10**9), jnp.float32)
    assert memory.size({"a": one, "b": 3}) == 4 * 10**18
    assert memory._words(4e18) == "4e+03 PB" and memory._words(1536) == "1.54 kB"


def test_a_factory_that_runs_out_of_numbers_is_a_users_mistake():
    for kind, room in ((Cell, cells), (Task, tasks)):
        for name in spec.names([room]):
            for argument in ("hidden", "length"):
                if spec.accepts(spec.parse(name), [room], argument):
                    try:
                        spec.build(spec.Spec(name, {argument: 10**400}), [room], kind)
                    except UserError as error:
                        assert "\n" not in str(error)

"""What stands outside of the package: a user's own cell or task is held to the contract, nothing else is called."""

import os
import sys
import textwrap

import pytest
from contract import CELL_CONTRACT

from seqjax import Cell, Task, UserError, cells, spec, tasks
from seqjax.training import Config, prepare, train
from seqjax.training.building import build, build_task

JANET = '''
"""A forget gate and nothing else (van der Westhuizen & Lasenby 2018), as a user writes it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import Cell, UserError

LOUD = []


class Carry(NamedTuple):
    """The cell state."""

    c: jax.Array


def step(params, carry, x):
    """c_t = f ⊙ c_{t-1} + (1 - f) ⊙ tanh(...)."""
    f, g = jnp.split(x @ params["w_x"] + carry.c @ params["w_h"] + params["b"], 2, -1)
    f = jax.nn.sigmoid(f)
    c = f * carry.c + (1 - f) * jnp.tanh(g)
    return Carry(c), c


def janet(hidden: int = 8) -> Cell:
    """Makes the cell."""
    if hidden < 1:
        raise UserError(f"hidden={hidden}; expected at least 1")

    def init(key, input_size):
        w_x = jax.random.normal(key, (input_size, 2 * hidden))
        w_h = jax.random.normal(key, (hidden, 2 * hidden))
        return {"w_x": w_x, "w_h": w_h, "b": jnp.zeros(2 * hidden)}

    def initial_carry(params, batch_shape):
        return Carry(jnp.zeros((*batch_shape, params["w_h"].shape[0]), params["w_h"].dtype))

    return Cell(init, initial_carry, step)


def undeclared(hidden=8):
    """Does not say what it returns."""
    LOUD.append(hidden)


def other(hidden: int = 8) -> dict:
    """Returns something else."""
    LOUD.append(hidden)


number = 3
'''

FIRST = '''
"""Say at the end the number that came first; with one thing wrong, whichever is asked for."""

import jax
import jax.numpy as jnp

from seqjax import Batch, Task
from seqjax.tasks.scoring import squared_error


def first(readout: str = "last", wrong: str = "") -> Task:
    """Makes the task."""

    def sample(key, batch_size):
        xs = jax.random.uniform(key, (6, batch_size, 1))
        right = {"inputs": xs, "targets": xs[0], "mask": jnp.ones(batch_size), "lengths": None}
        own = {
            "turned": {"inputs": xs.swapaxes(0, 1)},
            "wide": {"inputs": jnp.tile(xs, 2)},
            "whole": {"inputs": (9 * xs).astype(int)},
            "single": {"inputs": xs[:, :1]},
            "masked": {"mask": jnp.ones((6, batch_size))},
            "few": {"targets": xs[0, :1]},
            "fewer": {"mask": jnp.ones((5, batch_size)), "targets": xs},
            "flat": {"targets": xs[0, :, 0]},
            "scalar": {"lengths": 6},
            "half": {"lengths": jnp.full(batch_size, 5.5)},
        }
        return (xs, xs[0]) if wrong == "plain" else Batch(**right | own.get(wrong, {}))

    loss = (lambda o, b: (o - b.targets)[:, 0] ** 2) if wrong == "each" else squared_error
    score = (lambda o, b: jnp.all(jnp.abs(o - b.targets) < 0.1)) if wrong == "all" else squared_error
    solved = (lambda m: bool(m["loss"] < 0.01)) if wrong == "asks" else lambda m: m["loss"] < 0.01
    return Task(sample, loss, score, solved, 1, 1, 1 / 12, readout, tokens=wrong == "tokens")
'''

LEAKY = '''
"""A unit that leaks, with one thing wrong, whichever is asked for."""

import jax
import jax.numpy as jnp

from seqjax import Cell


def leaky(wrong: str = "") -> Cell:
    """Makes the cell."""

    def step(w, h, x):
        new = 0.9 * h[0] + 0.1 * jnp.tanh(x @ w)
        after = {"wider": [jnp.tile(new, 2)], "tuple": (new,)}.get(wrong, [new, *(n + 1 for n in h[1:])])
        return after if wrong == "alone" else (after, (new, new) if wrong == "twice" else new)

    def begin(w, shape):
        counter = [jnp.zeros(shape, int)] if wrong == "counts" else []
        return [jnp.zeros((4,) if wrong == "one" else (*shape, 4)), *counter]

    return Cell(lambda key, size: jax.random.normal(key, (size, 4)), begin, step)
'''


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    """A package of a user's own, on the path."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_cell.py").write_text(textwrap.dedent(JANET))
    (package / "my_task.py").write_text(FIRST)
    (package / "my_leaky.py").write_text(LEAKY)
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_package.my_cell"
    for name in ("my_package", "my_package.my_cell", "my_package.my_task", "my_package.my_leaky"):
        sys.modules.pop(name, None)


def test_a_users_own_cell_keeps_the_contract(my_package, float64):
    cell = spec.build(f"{my_package}.janet(hidden=4)", [cells], Cell)
    for check in CELL_CONTRACT:
        check(cell)


@pytest.mark.parametrize(
    "call, says",
    [
        ("janet(hidden=0)", "hidden=0; expected at least 1"),
        ("janet(hidden='4')", "hidden='4'; expected a whole number"),
        ("janet(width=4)", "takes no argument 'width'"),
        ("jannet(hidden=4)", "cannot be imported"),
        ("undeclared(hidden=4)", "is not declared as `-> Cell`, so it is not called"),
        ("other(hidden=4)", "is not declared as `-> Cell`, so it is not called"),
        ("number()", "is not a function"),
        ("missing.janet()", "cannot be imported"),
    ],
)
def test_a_users_own_mistakes(my_package, call, says):
    with pytest.raises(UserError) as caught:
        spec.build(f"{my_package}.{call}", [cells], Cell)
    assert says in str(caught.value) and "\n" not in str(caught.value)
    loud = sys.modules["my_package.my_cell"].LOUD if "my_package.my_cell" in sys.modules else []
    assert not loud


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("one", "the carry's component [0] is of shape [4]; expected [13]"),
        ("wider", "the step makes the carry's component [0] [13, 8] of [13, 4]; expected the same"),
        ("tuple", "the step gives a carry of the form PyTreeDef((*,)); expected PyTreeDef([*]), as it was given"),
        ("alone", "the step gives PyTreeDef([*]); expected two, (carry, y)"),
        ("twice", "the step's output is PyTreeDef((*, *)); expected one array, [13] and its width"),
        ("counts", "the carry's component [1] is of int32; gradients need floating point"),
    ],
)
def test_a_cell_of_a_users_own_is_looked_through_before_it_is_trained(my_package, wrong, says):
    config = Config(f"{my_package.replace('my_cell', 'my_leaky')}.leaky()", "adding(length=5)")
    build(config)
    with pytest.raises(UserError) as caught:
        build(config._replace(cell=config.cell.replace("()", f"(wrong={wrong!r})")))
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        "os.system(command='touch {}')",
        "posix.system(command='touch {}')",
        "subprocess.run(args=['touch', '{}'])",
        "builtins.open(file='{}', mode='w')",
        "pathlib.Path.touch(self='{}')",
        "shutil.copyfile(src='/dev/null', dst='{}')",
        "lstm(hidden=open('{}', 'w'))",
        "lstm(hidden=__import__('os').system('touch {}'))",
    ],
)
def test_nothing_else_is_ever_called(tmp_path, call):
    marker = tmp_path / "ran"
    for room, kind in [(cells, Cell), (tasks, Task)]:
        with pytest.raises(UserError):
            spec.build(call.format(marker), [room], kind)
    assert not os.path.exists(marker)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("readout='end'", "readout='end'; expected one of 'every', 'last', 'decode'"),
        ("wrong='plain'", "sample gives a tuple; expected a seqjax.Batch"),
        ("wrong='turned'", "inputs of float32 [13, 6, 1]; expected floating point [13, 13, 1]"),
        ("wrong='wide'", "inputs of float32 [6, 13, 2]; expected floating point [6, 13, 1]"),
        ("wrong='whole'", "inputs of int32 [6, 13, 1]; expected floating point [6, 13, 1]"),
        ("wrong='single'", "inputs of float32 [6, 1, 1]; expected floating point [6, 13, 1]"),
        ("wrong='tokens'", "inputs of float32 [6, 13, 1]; expected integers [6, 13]"),
        ("wrong='masked'", "mask of float32 [6, 13]; expected [13]"),
        ("readout='every'", "mask of float32 [13]; expected [any, 13]"),
        ("readout='every', wrong='fewer'", "targets of float32 [6, 13, 1]; expected axes [5, 13] and any after them"),
        ("wrong='few'", "targets of float32 [1, 1]; expected axes [13] and any after them"),
        ("wrong='flat'", "targets [13] for outputs [13, 1]; expected the same shape"),
        ("wrong='scalar'", "lengths of int32 []; expected integers [13]"),
        ("wrong='half'", "lengths of float32 [13]; expected integers [13]"),
        ("wrong='each'", "loss of 13 sequences gives float32 [13]; expected one number, their mean"),
        ("wrong='asks'", "solved asks for a number's value before there is one"),
    ],
)
def test_a_task_of_a_users_own_is_looked_through_before_it_is_drawn_from(my_package, call, says):
    """Some of these would otherwise be trained on, as broadcasting makes numbers of them, wrong ones."""
    assert build_task("my_package.my_task.first").output_size == 1
    with pytest.raises(UserError) as caught:
        build_task(f"my_package.my_task.first({call})")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_score_that_is_no_float_is_told_as_a_number(my_package, tmp_path):
    """Here whether all are right, true or false."""
    config = Config("rnn(hidden=2)", "my_package.my_task.first(wrong='all')", steps=1, batch_size=2, eval_size=2)
    assert train(prepare(config, "run=1"), tmp_path / "run", command="test")["runs"][0]["score"] in (0.0, 1.0)

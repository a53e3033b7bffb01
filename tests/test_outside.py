"""Cells that stand outside of the package: a user's own is built and held to the contract, nothing else is called."""

import os
import sys
import textwrap

import pytest
from contract import CELL_CONTRACT

from seqjax import Cell, Task, UserError, cells, spec, tasks

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


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    """A package of a user's own, on the path."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_cell.py").write_text(textwrap.dedent(JANET))
    monkeypatch.syspath_prepend(tmp_path)
    yield "my_package.my_cell"
    for name in ("my_package", "my_package.my_cell"):
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

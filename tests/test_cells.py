"""Every cell found in `seqjax/cells`, and every form of the classical ones, against the cells' contract."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import CELL_CONTRACT, close, noise, random_params

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.cells.linen import linen
from seqjax.cells.lstm import LSTMForm, lstm

FOUND = spec.names([cells])

GREFF = {
    "V": "",
    "NIG": "input_gate=False",
    "NFG": "forget_gate=False",
    "NOG": "output_gate=False",
    "NIAF": "input_activation='identity'",
    "NOAF": "output_activation='identity'",
    "NP": "peepholes=False",
    "CIFG": "coupled=True",
    "FGR": "full_gate_recurrence=True",
}


def greff(variant, hidden=4):
    """The spec of a variant of Greff et al. (2015): each is the vanilla cell, with peepholes, but for one part."""
    change = GREFF[variant]
    peepholes = "" if "peepholes" in change else "peepholes=True, "
    return f"lstm(hidden={hidden}, {peepholes}{change})"


def linen_names():
    """The Flax cells that `linen` says it knows."""
    try:
        linen(cell="?")
    except UserError as error:
        return str(error).split("expected one of ")[1].split(", ")


@functools.cache
def built(form):
    """The cell of a spec, one for all checks."""
    return spec.build(form, [cells], Cell)


FORMS = [
    *[f"{name}(hidden=4)" for name in FOUND],
    *[greff(variant) for variant in GREFF],
    "lstm(hidden=4, forget_gate=False, input_activation='hs97_g', output_activation='hs97_h')",  # 1997
    "lstm(hidden=4, forget_gate=False, full_gate_recurrence=True, gates_to_input=True)",
    "lstm(hidden=4, input_gate=False, forget_gate=False, output_gate=False)",
    "lstm(hidden=4, coupled=True, full_gate_recurrence=True, peepholes=True, output_gate=False)",
    "lstm(hidden=4, max_lag=50)",
    "lstm(hidden=4, coupled=True, max_lag=50)",
    "lstm(hidden=1)",
    "lstm(hidden=4, block_size=2, peepholes=True)",
    "lstm(hidden=4, block_size=4, forget_gate=False, full_gate_recurrence=True, gates_to_input=True)",
    "rnn(hidden=4, activation='relu', recurrent_init='identity', input_init='normal', input_scale=0.001)",  # IRNN
    "rnn(hidden=4, activation='identity', recurrent_init='normal')",
    "rnn(hidden=4, activation='sigmoid', recurrent_init='uniform', input_init='uniform', input_scale=0.2)",
    "gru(hidden=4, reset_after=False)",
    "gru(hidden=4, max_lag=50, input_init='lecun')",
    *[f"linen(cell={name!r}, hidden=4)" for name in linen_names()],
    "linen(cell='SimpleCell', hidden=4, residual=True)",
]


@pytest.mark.parametrize("check", CELL_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("form", FORMS)
def test_contract(form, check, float64):
    check(built(form))


def test_every_classical_cell_is_found():
    assert {"rnn", "lstm", "gru", "linen"} <= set(FOUND)
    assert {"OptimizedLSTMCell", "LSTMCell", "GRUCell", "SimpleCell", "MGUCell"} <= set(linen_names())


@pytest.mark.parametrize("name", FOUND)
def test_a_factory_needs_no_argument_and_documents_all(name):
    make = spec.factory(name, [cells])
    for parameter in inspect.signature(make).parameters.values():
        variadic = parameter.kind is parameter.VAR_KEYWORD
        assert variadic or parameter.default is not parameter.empty, f"{name}: give {parameter.name} a default"
        assert f"{parameter.name}" in make.__doc__


@pytest.mark.parametrize("form", FORMS)
def test_equal_arguments_give_an_equal_step(form):
    """So that jit, which goes by the function it was given, compiles two equal cells once."""
    one, other = (spec.build(form, [cells], Cell) for _ in range(2))
    assert one.step == other.step and hash(one.step) == hash(other.step)


def test_cells_of_one_form_share_a_compiled_program():
    traced = []

    def run(step, params, x):
        traced.append(step)
        return step(params, lstm(hidden=3).initial_carry(params, ()), x)

    run = jax.jit(run, static_argnums=0)
    for cell in (lstm(hidden=3, forget_bias=1.0), lstm(hidden=3, forget_bias=5.0)):
        run(cell.step, cell.init(jax.random.key(0), 2), jnp.ones(2))
    assert len(traced) == 1


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("bad", ["hidden=0", "hidden=-3", "hidden='four'", "hidden=2.5", "hidden=True", "hiden=4"])
def test_every_cell_refuses_bad_widths(name, bad):
    with pytest.raises(UserError, match=r"hidd?en") as caught:
        spec.build(f"{name}({bad})", [cells], Cell)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad, says",
    [
        ("lstm(coupled=True, forget_gate=False)", "coupled"),
        ("lstm(coupled=True, input_gate=False)", "coupled"),
        ("lstm(max_lag=2)", "max_lag=2"),
        ("lstm(hidden=6, block_size=4)", "block_size=4; expected a divisor of hidden=6"),
        ("lstm(hidden=6, block_size=0)", "block_size=0"),
        (
            "lstm(hidden=6, block_size=2, output_bias=(-1, -2))",
            "output_bias holds 2 numbers; expected one number, or 3 of them",
        ),
        ("lstm(coupled=True, input_bias=-3.0)", "input_bias=-3.0 of coupled gates; give forget_bias"),
        ("lstm(forget_gate=False, forget_bias=5.0)", "forget_bias=5.0, but the gate it is of is left out"),
        ("lstm(input_gate=False, input_bias=(1, 2), hidden=2)", "input_bias="),
        ("lstm(output_gate=False, output_bias=1.0)", "output_bias=1.0"),
        ("lstm(forget_gate=False, input_gate=False, max_lag=9)", "max_lag=9"),
        (
            "lstm(full_gate_recurrence=True, input_gate=False, forget_gate=False, output_gate=False)",
            "no gate is left",
        ),
        ("linen(cell='SimpleCell', activation_fn='tanh')", "activation_fn='tanh' of SimpleCell; expected a function"),
        ("linen(cell='SimpleCell', dtype='float17')", "dtype='float17'"),
        ("linen(cell='SimpleCell', kernel_init=3)", "kernel_init=3"),
        ("linen(cell='SimpleCell', residual='x')", "residual='x' of SimpleCell; expected True or False"),
        ("lstm(input_activation='tahn')", "'tanh'"),
        ("lstm(recurrent_init='unit')", "'orthogonal'"),
        ("lstm(peepholes=1)", "True or False"),
        ("lstm(forget_bias='big')", "a number"),
        ("gru(max_lag=-1)", "max_lag=-1"),
        ("gru(reset_after=None)", "True or False"),
        ("rnn(activation='softsign')", "'relu'"),
        ("rnn(input_init='glorrot')", "'glorot'"),
        ("linen(cell='GRUcell')", "did you mean 'GRUCell'"),
        ("linen(cell='ConvLSTMCell')", "expected one of"),
        ("linen(cell='Dense')", "expected one of"),
        ("linen(hiden=4)", "no field 'hiden'"),
        ("linen(cell='SimpleCell', residul=True)", "did you mean 'residual'"),
    ],
)
def test_refusals(bad, says):
    with pytest.raises(UserError, match=says) as caught:
        spec.build(bad, [cells], Cell)
    assert "\n" not in str(caught.value)


def count(form, input_size):
    """Number of parameters, and whether each of them moves the output of three steps."""
    cell = built(form)
    params = random_params(cell, input_size=input_size)
    xs, v = noise(1, 3, 2, input_size), noise(2, 4)
    slopes = jax.jit(jax.grad(lambda p: jnp.sum(v * unroll(cell, p, xs, strategy="scan")[1] ** 2)))(params)
    return sum(leaf.size for leaf in jax.tree.leaves(params)), all(np.all(g) for g in jax.tree.leaves(slopes))


@pytest.mark.parametrize(
    "variant, blocks, gates, gate_recurrence",
    [
        ("V", 4, 3, 0),
        ("NIG", 3, 2, 0),
        ("NFG", 3, 2, 0),
        ("NOG", 3, 2, 0),
        ("NIAF", 4, 3, 0),
        ("NOAF", 4, 3, 0),
        ("NP", 4, 0, 0),
        ("CIFG", 3, 2, 0),
        ("FGR", 4, 3, 9),
    ],
)
def test_what_a_variant_lacks_has_no_parameters(variant, blocks, gates, gate_recurrence, float64):
    d, h = 3, 4
    expected = blocks * (d * h + h * h + h) + gates * h + gate_recurrence * h * h
    assert count(greff(variant, hidden=h), d) == (expected, True)


def test_parameter_counts_of_the_others(float64):
    d, h = 3, 4
    block = d * h + h * h + h
    assert count("rnn(hidden=4)", d) == (block, True)
    assert count("gru(hidden=4)", d) == (3 * block + h, True)
    assert count("gru(hidden=4, reset_after=False)", d) == (3 * block, True)


def test_blocks_stand_in_the_order_of_the_text():
    assert LSTMForm().blocks == "ifgo" and LSTMForm().gates == "ifo"
    assert LSTMForm(coupled=True).blocks == "igo" and LSTMForm(forget_gate=False).gates == "io"


def test_the_1997_cell_is_the_default_with_the_forget_gate_held_open(float64):
    """f = 1 is the limit of a forget gate whose bias is large."""
    old, new = lstm(hidden=4, forget_gate=False), lstm(hidden=4)
    params = random_params(new)
    for leaf, value in zip((params.w_x, params.w_h, params.b), (0, 0, 60)):
        leaf[..., 4:8] = value
    keep = np.concatenate([np.arange(4) + 4 * block for block in (0, 2, 3)])  # i, g, o
    without = params._replace(w_x=params.w_x[:, keep], w_h=params.w_h[:, keep], b=params.b[keep])
    xs = noise(4, 6, 3)
    close(*(jax.jit(lambda p, cell=cell: unroll(cell, p, xs))(p) for cell, p in ((old, without), (new, params))))

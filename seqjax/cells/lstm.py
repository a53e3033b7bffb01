"""Long short-term memory: one equation, from which every historical form is an argument."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells import initializers
from seqjax.cells.activations import ACTIVATIONS, Activation
from seqjax.cells.binding import bind
from seqjax.cells.taps import tap
from seqjax.types import Array, Cell, UserError

GATES = {"i": "input_gate", "f": "forget_gate", "o": "output_gate"}


class LSTMForm(NamedTuple):
    """Which of the equation's parts a cell has."""

    forget_gate: bool = True
    input_gate: bool = True
    output_gate: bool = True
    coupled: bool = False
    peepholes: bool = False
    full_gate_recurrence: bool = False
    gates_to_input: bool = False
    input_activation: Activation = "tanh"
    output_activation: Activation = "tanh"
    block_size: int = 1

    @property
    def blocks(self) -> str:
        """The blocks of columns in W and b, in the order i, f, g, o of cuDNN, PyTorch and Keras."""
        has = {"i": self.input_gate, "f": self.forget_gate and not self.coupled, "g": True, "o": self.output_gate}
        return "".join(block for block, there in has.items() if there)

    @property
    def gates(self) -> str:
        """The blocks that are gates."""
        return self.blocks.replace("g", "")

    @property
    def told(self) -> str:
        """The blocks that see the gates of the step before."""
        return (self.gates + "g" * self.gates_to_input) if self.full_gate_recurrence else ""

    def cut(self, a: Array, blocks: str, hidden: int) -> dict[str, Array]:
        """Columns by block: H of g, H / block_size of a gate."""
        widths = [hidden if block == "g" else hidden // self.block_size for block in blocks]
        return dict(zip(blocks, jnp.split(a, list(itertools.accumulate(widths))[:-1], -1)))


class LSTMParams(NamedTuple):
    """n blocks of columns (4 where all gates are there), k of them gates; G is H / block_size."""

    w_x: Array  # [D, k·G + H]; n·H where every cell has gates of its own
    w_h: Array  # [H, k·G + H]
    b: Array  # [k·G + H]
    w_c: Array | None = None  # [k, H] peepholes, one row a gate
    w_gates: Array | None = None  # [k·G, k·G] recurrence from gates to gates; [k·G, k·G + H] and to g


class LSTMCarry(NamedTuple):
    """The hidden state and the cell state."""

    h: Array  # [..., H]
    c: Array  # [..., H]
    gates: Array | None = None  # [..., k·G] where gates see the gates of the step before


def lstm_step(form: LSTMForm, params: LSTMParams, carry: LSTMCarry, x: Array) -> tuple[LSTMCarry, Array]:
    """One step; every term in brackets is there by argument.

        a   = x_t W_x + h_{t-1} W_h + b  [+ (i, f, o)_{t-1} W_gates]        a = (a_i, a_f, a_g, a_o)
                                               W_gates reaches the gates [and g]
        i_t = σ(a_i [+ w_ci ⊙ c_{t-1}])                                     1 without the input gate
        f_t = σ(a_f [+ w_cf ⊙ c_{t-1}])              1 without the forget gate, 1 - i_t where coupled
        g_t = φ(a_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t
        o_t = σ(a_o [+ w_co ⊙ c_t])                                         1 without the output gate
        h_t = o_t ⊙ ψ(c_t)                                                  the output

    So many cells as block_size says, side by side, share each gate, which sees all of them through its peepholes.
    (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000; peepholes: Gers & Schmidhuber 2000;
    all together, with the variants: Greff et al. 2015, section II)
    """
    h, c, gates_before = carry
    blocks = form.cut(x @ params.w_x + h @ params.w_h + params.b, form.blocks, c.shape[-1])
    if form.told:
        seen = form.cut(gates_before @ params.w_gates, form.told, c.shape[-1])
        blocks |= {block: blocks[block] + extra for block, extra in seen.items()}

    def gate(name: str, state: Array) -> Array:
        a = blocks[name]
        if form.peepholes:
            seen = params.w_c[form.gates.index(name)] * state
            a += jnp.sum(seen.reshape(*seen.shape[:-1], -1, form.block_size), -1)
        return tap(GATES[name], jnp.repeat(jax.nn.sigmoid(a), form.block_size, -1))

    opened = {name: gate(name, c) for name in form.gates if name != "o"}
    i = opened.get("i", 1)
    f = tap(GATES["f"], 1 - i) if form.coupled else opened.get("f", 1)
    c = f * c + i * tap("candidate", ACTIVATIONS[form.input_activation](blocks["g"]))
    if form.output_gate:
        opened["o"] = gate("o", c)
    h = opened.get("o", 1) * ACTIVATIONS[form.output_activation](c)
    if not form.full_gate_recurrence:
        return LSTMCarry(h, c), h
    return LSTMCarry(h, c, jnp.concatenate([opened[name][..., :: form.block_size] for name in form.gates], -1)), h


def lstm(
    hidden: int = 128,
    forget_gate: bool = True,
    input_gate: bool = True,
    output_gate: bool = True,
    coupled: bool = False,
    peepholes: bool = False,
    full_gate_recurrence: bool = False,
    gates_to_input: bool = False,
    input_activation: Activation = "tanh",
    output_activation: Activation = "tanh",
    forget_bias: initializers.Bias = 1.0,
    input_bias: initializers.Bias = 0.0,
    output_bias: initializers.Bias = 0.0,
    max_lag: float | None = None,
    recurrent_init: initializers.Recurrent = "orthogonal",
    recurrent_scale: float = 1.0,
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
    block_size: int = 1,
) -> Cell:
    """A long short-term memory cell; the equation is in `lstm_step`.

    The forms in the literature:
        1997, no forget gate:        lstm(forget_gate=False, input_activation='hs97_g', output_activation='hs97_h')
        2000, with forget gate:      lstm()
        2000, with peepholes:        lstm(peepholes=True), the "vanilla" LSTM of Greff et al. (2015)
    The eight variants of Greff et al. (2015), each beside peepholes=True: NIG input_gate=False; NFG
    forget_gate=False; NOG output_gate=False; NIAF input_activation='identity'; NOAF
    output_activation='identity'; NP peepholes=False; CIFG coupled=True; FGR full_gate_recurrence=True.

    Args:
        hidden: number of units H.
        forget_gate, input_gate, output_gate: False leaves the gate open (1) and its weights out.
        coupled: f = 1 - i, one gate instead of two.
        peepholes: gates see the cell state through diagonal weights, which begin at zero.
        full_gate_recurrence: gates see the gates of the step before.
        gates_to_input: with it, the cells' inputs g do too: all units see all units, as in the 1997
            paper's network of experiment 1.
        input_activation, output_activation: φ on the cell's input, ψ on the cell state.
        forget_bias, input_bias, output_bias: what the gates' biases begin with: a number, or a tuple with
            one for each unit, or block, as in (-1, -2, -3, -4) for units that join one after the other
            (Hochreiter & Schmidhuber 1997, section 4). Where gates are coupled, the forget gate being
            1 - i, forget_bias is the negative of what the input gate begins with.
        max_lag: chrono initialization, forget biases log U[1, max_lag - 1] and input biases the
            negative of that, in the place of forget_bias and input_bias. (Tallec & Ollivier 2018)
        recurrent_init, recurrent_scale: how W_h and W_gates begin; see `initializers.recurrent`.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.
        block_size: cells that share their gates, a memory cell block. (Hochreiter & Schmidhuber 1997, section 4)

    Raises:
        UserError: hidden < 1, or no multiple of block_size, max_lag <= 2, coupled gates of which one is
            missing, a tuple of biases for another number of gates, the bias of a gate that is left out, beside max_lag
            or, where gates are coupled, of the input gate, gates_to_input without full_gate_recurrence, or that
            without a gate.
    """
    initializers.require_width(hidden)
    if block_size < 1 or hidden % block_size:
        raise UserError(f"block_size={block_size}; expected a divisor of hidden={hidden}")
    width = hidden // block_size  # of a gate
    initializers.require_biases(width, forget_bias=forget_bias, input_bias=input_bias, output_bias=output_bias)
    if coupled and not (forget_gate and input_gate):
        raise UserError("coupled=True ties the forget gate to the input gate; it needs both")
    initializers.require_lag(max_lag, forget_bias=(forget_bias, 1.0), input_bias=(input_bias, 0.0))
    if gates_to_input and not full_gate_recurrence:
        raise UserError("gates_to_input=True adds to full_gate_recurrence=True; it needs that")
    if full_gate_recurrence and not (forget_gate or input_gate or output_gate):
        raise UserError("full_gate_recurrence=True, but no gate is left that could see another; leave one in")
    if coupled and input_bias != 0.0:
        raise UserError(f"input_bias={input_bias} of coupled gates; give forget_bias, whose negative it is")
    begins = {"forget_bias": (forget_gate, forget_bias, 1.0), "input_bias": (input_gate, input_bias, 0.0)}
    begins |= {"output_bias": (output_gate, output_bias, 0.0), "max_lag": (forget_gate or input_gate, max_lag, None)}
    for name, (there, value, default) in begins.items():
        if not there and value != default:
            raise UserError(f"{name}={value}, but the gate it is of is left out; leave it out too")
    form = LSTMForm(
        forget_gate,
        input_gate,
        output_gate,
        coupled,
        peepholes,
        full_gate_recurrence,
        gates_to_input,
        input_activation,
        output_activation,
        block_size,
    )
    n, k = len(form.blocks), len(form.gates)

    def shared(w: Array) -> Array:
        """Of each gate's columns, the first of every block of cells [., n·H] -> [., k·G + H]."""
        each = zip(form.blocks, jnp.split(w, n, -1))
        return jnp.concatenate([part if block == "g" else part[:, ::block_size] for block, part in each], -1)

    def init(key: Array, input_size: int) -> LSTMParams:
        key_x, key_h, key_lag, key_gates = jax.random.split(key, 4)
        given = {"i": input_bias, "f": forget_bias, "o": output_bias}
        biases = {"g": jnp.zeros(hidden)} | {gate: initializers.bias(width, each) for gate, each in given.items()}
        if max_lag is not None:
            lag = initializers.chrono(key_lag, width, max_lag)
            biases |= {"f": lag, "i": -lag}
        elif coupled:
            biases["i"] = -biases["f"]
        w_gates = None
        if full_gate_recurrence:
            w_gates = initializers.recurrent(key_gates, k * width, 1, recurrent_init, recurrent_scale)
        if gates_to_input:
            key_g = jax.random.fold_in(key_gates, 1)
            w_g = initializers.inputs(key_g, k * width, hidden, 1, input_init, input_scale)
            w_gates = jnp.concatenate([w_gates, w_g], -1)
        return LSTMParams(
            w_x=shared(initializers.inputs(key_x, input_size, hidden, n, input_init, input_scale)),
            w_h=shared(initializers.recurrent(key_h, hidden, n, recurrent_init, recurrent_scale)),
            b=jnp.concatenate([biases[block] for block in form.blocks]),
            w_c=jnp.zeros((k, hidden)) if peepholes else None,
            w_gates=w_gates,
        )

    return Cell(init, initial_carry, bind(lstm_step, form))


def initial_carry(params: LSTMParams, batch_shape: tuple[int, ...]) -> LSTMCarry:
    """h_0 = c_0 = 0 [*batch_shape, H], and no gate open yet."""
    zeros = jnp.zeros((*batch_shape, params.w_h.shape[0]), params.w_h.dtype)
    gates = params.w_gates
    return LSTMCarry(zeros, zeros, None if gates is None else jnp.zeros((*batch_shape, gates.shape[0]), gates.dtype))

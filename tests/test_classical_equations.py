"""The classical cells against NumPy loops written from the papers."""

import jax
import numpy as np
import pytest
from contract import close, noise
from paper_loops import sigmoid

from seqjax import unroll
from seqjax.cells.gru import GRUParams, gru
from seqjax.cells.lstm import LSTMForm, LSTMParams, lstm
from seqjax.cells.rnn import RNNCarry, rnn

T, B, D, H = 7, 3, 5, 4
run = jax.jit(unroll, static_argnums=0)
pytestmark = pytest.mark.usefixtures("float64")


SQUASH = {
    "tanh": np.tanh,
    "identity": lambda x: x,
    "hs97_g": lambda x: 4 / (1 + np.exp(-x)) - 2,
    "hs97_h": lambda x: 2 / (1 + np.exp(-x)) - 1,
}


def lstm_loop(form, weights, xs):
    """Greff et al. (2015), section II and appendix A, a gate at a time, with a weight a name."""
    W, R, b, p, G = weights
    h = c = np.zeros((B, H))
    S = form.block_size
    before = {gate: np.zeros((B, H // S)) for gate in "ifo"}
    ys = []
    for x in xs:
        now = dict(before)

        def gate(name, state, x=x, h=h, before=before, now=now):
            total = x @ W[name] + h @ R[name] + b[name]
            if form.peepholes:
                seen = p[name] * state
                total = total + sum(seen[:, cell::S] for cell in range(S))
            if form.full_gate_recurrence:
                total = total + sum(before[source] @ G[source, name] for source in form.gates)
            now[name] = sigmoid(total)
            return now[name][:, np.arange(H) // S]

        told = sum(before[source] @ G[source, "g"] for source in form.gates) if form.gates_to_input else 0
        z = SQUASH[form.input_activation](x @ W["g"] + h @ R["g"] + b["g"] + told)
        i = gate("i", c) if form.input_gate else np.ones((B, H))
        f = 1 - i if form.coupled else gate("f", c) if form.forget_gate else np.ones((B, H))
        c = i * z + f * c
        o = gate("o", c) if form.output_gate else np.ones((B, H))
        h = o * SQUASH[form.output_activation](c)
        before = now
        ys.append(h)
    return h, c, np.stack(ys)


FORMS = {
    "2000": {},
    "no forget gate": {"forget_gate": False},
    "no input gate": {"input_gate": False},
    "no output gate": {"output_gate": False},
    "coupled": {"coupled": True},
    "peepholes": {"peepholes": True},
    "peepholes, no forget gate": {"peepholes": True, "forget_gate": False},
    "peepholes, no input gate": {"peepholes": True, "input_gate": False},
    "peepholes, no output gate": {"peepholes": True, "output_gate": False},
    "peepholes, coupled": {"peepholes": True, "coupled": True},
    "full gate recurrence": {"peepholes": True, "full_gate_recurrence": True},
    "full gate recurrence, no forget gate": {"forget_gate": False, "full_gate_recurrence": True},
    "full gate recurrence, coupled": {"coupled": True, "full_gate_recurrence": True},
    "no input activation": {"peepholes": True, "input_activation": "identity"},
    "no output activation": {"peepholes": True, "output_activation": "identity"},
    "1997": {"forget_gate": False, "input_activation": "hs97_g", "output_activation": "hs97_h"},
    "1997, all units see all units": {
        **{"forget_gate": False, "input_activation": "hs97_g", "output_activation": "hs97_h"},
        **{"full_gate_recurrence": True, "gates_to_input": True},
    },
    "no gate at all": {"forget_gate": False, "input_gate": False, "output_gate": False},
    "blocks of two": {"block_size": 2},
    "one block, peepholes, coupled": {"block_size": 4, "peepholes": True, "coupled": True},
    "1997, blocks of two, all units see all units": {
        **{"forget_gate": False, "peepholes": True, "block_size": 2},
        **{"full_gate_recurrence": True, "gates_to_input": True},
    },
}


@pytest.mark.parametrize("name", FORMS)
def test_lstm_is_the_papers(name):
    form, draw = LSTMForm(**FORMS[name]), np.random.default_rng(0).normal
    size = {block: H if block == "g" else H // form.block_size for block in "ifgo"}
    W, R, b = ({block: draw(size=(*rows, size[block])) for block in "ifgo"} for rows in [(D,), (H,), ()])
    p = {gate: draw(size=H) for gate in "ifo"}
    G = {(source, target): draw(size=(size[source], size[target])) for source in "ifo" for target in "ifog"}
    xs = draw(size=(T, B, D))
    order = [block for block in "ifgo" if block in form.blocks]
    gates = [block for block in order if block != "g"]
    params = LSTMParams(
        w_x=np.concatenate([W[block] for block in order], 1),
        w_h=np.concatenate([R[block] for block in order], 1),
        b=np.concatenate([b[block] for block in order]),
        w_c=np.stack([p[gate] for gate in gates]) if form.peepholes else None,
        w_gates=np.block([[G[s, t] for t in form.told] for s in gates]) if form.full_gate_recurrence else None,
    )
    carry, ys = run(lstm(H, **FORMS[name]), params, xs)
    close((carry.h, carry.c, ys), lstm_loop(form, (W, R, b, p, G), xs))


def test_gru_with_the_reset_gate_before_the_product_is_the_papers():
    """Cho et al. (2014), equations 5 to 8."""
    draw = np.random.default_rng(0).normal
    W, U, b = ({block: draw(size=shape) for block in "rzn"} for shape in [(D, H), (H, H), (H,)])
    xs, h, ys = draw(size=(T, B, D)), np.zeros((B, H)), []
    for x in xs:
        r = sigmoid(x @ W["r"] + h @ U["r"] + b["r"])
        z = sigmoid(x @ W["z"] + h @ U["z"] + b["z"])
        candidate = np.tanh(x @ W["n"] + (r * h) @ U["n"] + b["n"])
        h = z * h + (1 - z) * candidate
        ys.append(h)
    params = GRUParams(*(np.concatenate([of[block] for block in "rzn"], -1) for of in (W, U, b)))
    carry, out = run(gru(H, reset_after=False), params, xs)
    close((carry.h, out), (h, np.stack(ys)))


def test_irnn_is_the_papers():
    """Le, Jaitly & Hinton (2015), section 3: as it begins, the state is the running sum of what came in."""
    cell = rnn(H, activation="relu", recurrent_init="identity", input_init="normal", input_scale=0.001)
    params = jax.tree.map(np.asarray, cell.init(jax.random.key(0), D))
    xs = noise(1, T, B, D)
    h, ys = np.zeros((B, H)), []
    for x in xs:
        h = np.maximum(x @ params.w_x + h @ np.eye(H), 0)
        ys.append(h)
    assert np.abs(params.w_x).max() < 0.01 and not params.b.any()
    close(run(cell, params, xs), (RNNCarry(h), np.stack(ys)))

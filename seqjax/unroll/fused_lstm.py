"""The LSTM cut in two for the fused strategy: its affine map, and the elementwise part with its derivative."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from seqjax.cells.lstm import LSTMCarry, LSTMForm, LSTMParams
from seqjax.types import Array
from seqjax.unroll.parts import SLOPES, Parts, Weights, half, squash, stretch

Saved = dict[str, Array]


@functools.cache
def lstm_parts(form: LSTMForm) -> Parts:
    """An LSTM without recurrence from gates to gates; the equation is in `lstm_step`."""
    return Parts(*(functools.partial(part, form) for part in (weights, advance, tangent, of_peepholes)))


def activation(form: LSTMForm, block: str) -> str:
    """What squashes a block."""
    return form.input_activation if block == "g" else "sigmoid"


def weights(form: LSTMForm, params: LSTMParams) -> Weights:
    """a = x W_x + h W_h + b, halved where a sigmoid follows."""
    width = params.w_h.shape[0]
    scale = stretch([half(activation(form, block)) for block in form.blocks], width, params.w_h.dtype)
    return Weights(params.w_x * scale, params.w_h * scale, params.b * scale, params.w_c)


def advance(form: LSTMForm, w_c: Array | None, carry: LSTMCarry, a: Array) -> tuple[LSTMCarry, Saved]:
    """The elementwise part of a step, which saves the gates and g; ψ(c) is cheaper made again than kept."""
    c = carry.c
    blocks = dict(zip(form.blocks, jnp.split(a, len(form.blocks), -1)))

    def gate(name: str, state: Array) -> Array:
        seen = w_c[form.gates.index(name)] * state / 2 if form.peepholes else 0
        return squash("sigmoid", blocks[name] + seen)

    saved = {name: gate(name, c) for name in form.gates if name != "o"}
    saved["g"] = squash(form.input_activation, blocks["g"])
    c = _memory(form, c, saved)
    if form.output_gate:
        saved["o"] = gate("o", c)
    return LSTMCarry(saved.get("o", 1) * _squashed(form, c), c), saved


def tangent(
    form: LSTMForm, w_c: Array | None, carry: LSTMCarry, saved: Saved, dot_carry: LSTMCarry, dot_a: Array
) -> LSTMCarry:
    """The derivative of `advance` in its direction, from what was saved.

    ċ_t = ḟ ⊙ c_{t-1} + f ⊙ ċ_{t-1} + i̇ ⊙ g + i ⊙ ġ
    ḣ_t = ȯ ⊙ ψ + o ⊙ ψ' ⊙ ċ_t
    """
    before, dot_before = carry.c, dot_carry.c
    blocks = dict(zip(form.blocks, jnp.split(dot_a, len(form.blocks), -1)))

    def gate(name: str, dot_state: Array) -> Array:
        seen = w_c[form.gates.index(name)] * dot_state / 2 if form.peepholes else 0
        return SLOPES["sigmoid"](saved[name]) * (blocks[name] + seen)

    dots = {name: gate(name, dot_before) for name in form.gates if name != "o"}
    dot_g = SLOPES[form.input_activation](saved["g"]) * blocks["g"]
    dot_c = _forget(form, saved) * dot_before + saved.get("i", 1) * dot_g
    if "i" in dots:
        dot_c += dots["i"] * (saved["g"] - before if form.coupled else saved["g"])
    if "f" in dots:
        dot_c += dots["f"] * before
    y = _squashed(form, _memory(form, before, saved))
    dot_h = saved.get("o", 1) * SLOPES[form.output_activation](y) * half(form.output_activation) * dot_c
    if form.output_gate:
        dot_h += gate("o", dot_c) * y
    return LSTMCarry(dot_h, dot_c)


def of_peepholes(form: LSTMForm, dot_w_c: Array | None, carry: LSTMCarry, saved: Saved) -> Array | None:
    """Peepholes that change by ẇ change the gates' sums by ẇ ⊙ c, halved as they are."""
    if dot_w_c is None:
        return None
    after = _memory(form, carry.c, saved)
    seen = {name: dot_w_c[row] * (after if name == "o" else carry.c) / 2 for row, name in enumerate(form.gates)}
    return jnp.concatenate([seen.get(block, jnp.zeros_like(after)) for block in form.blocks], -1)


def _memory(form: LSTMForm, before: Array, saved: Saved) -> Array:
    """c_t from c_{t-1}."""
    return _forget(form, saved) * before + saved.get("i", 1) * saved["g"]


def _squashed(form: LSTMForm, c: Array) -> Array:
    """ψ(c)."""
    return squash(form.output_activation, c * half(form.output_activation))


def _forget(form: LSTMForm, saved: Saved) -> Array | int:
    return 1 - saved["i"] if form.coupled else saved.get("f", 1)

"""The GRU cut in two for the fused strategy: its affine map, and the elementwise part with its derivative."""

from __future__ import annotations

import jax.numpy as jnp

from seqjax.cells.gru import GRUCarry, GRUParams
from seqjax.types import Array
from seqjax.unroll.parts import SLOPES, Parts, Weights, half, squash, stretch

Saved = dict[str, Array]


def weights(params: GRUParams) -> Weights:
    """a = (x W_xn + b_n', r and z, h W_hn + b_n) [4H]: the first three see x, the last three h.

    r and z are halved, as a sigmoid follows.
    """
    width = params.w_h.shape[0]
    order = lambda leaf: jnp.concatenate([leaf[..., 2 * width :], leaf[..., : 2 * width]], -1)  # noqa: E731
    scale = stretch([1, half("sigmoid"), half("sigmoid"), 1], width, params.w_h.dtype)
    b = jnp.concatenate([order(params.b), params.b_n])
    return Weights(order(params.w_x) * scale[:-width], params.w_h * scale[width:], b * scale, None)


def advance(rest: None, carry: GRUCarry, a: Array) -> tuple[GRUCarry, Saved]:
    """The elementwise part of a step; the equation is in `gru_step`."""
    from_x, r, z, from_h = jnp.split(a, 4, -1)
    r, z = squash("sigmoid", r), squash("sigmoid", z)
    n = squash("tanh", from_x + r * from_h)
    return GRUCarry((1 - z) * n + z * carry.h), {"r": r, "z": z, "n": n, "from_h": from_h}


def tangent(rest: None, carry: GRUCarry, saved: Saved, dot_carry: GRUCarry, dot_a: Array) -> GRUCarry:
    """The derivative of `advance` in its direction, from what was saved.

    ṅ_t = tanh' ⊙ (ȧ_x + ṙ ⊙ a_h + r ⊙ ȧ_h)
    ḣ_t = (1 - z) ⊙ ṅ_t + ż ⊙ (h_{t-1} - n) + z ⊙ ḣ_{t-1}
    """
    r, z, n = saved["r"], saved["z"], saved["n"]
    dot_from_x, dot_r, dot_z, dot_from_h = jnp.split(dot_a, 4, -1)
    dot_r, dot_z = SLOPES["sigmoid"](r) * dot_r, SLOPES["sigmoid"](z) * dot_z
    dot_n = SLOPES["tanh"](n) * (dot_from_x + dot_r * saved["from_h"] + r * dot_from_h)
    return GRUCarry((1 - z) * dot_n + dot_z * (carry.h - n) + z * dot_carry.h)


gru_parts = Parts(weights, advance, tangent, lambda *_: None)

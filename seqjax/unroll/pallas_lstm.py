"""The pallas strategy: the standard LSTM by two persistent kernels, and what its derivatives are made of."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTMCarry
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll import persistent
from seqjax.unroll.persistent import Slopes
from seqjax.unroll.products import Compute, product, require_float32, rounded_product
from seqjax.unroll.recurrence import one_later
from seqjax.unroll.scan import scan, zero_unless
from seqjax.unroll.side_by_side import Steps, entering, outcome, side_by_side
from seqjax.unroll.standard import dtypes_of, not_nvidia, not_standard


class How(NamedTuple):
    """What does not depend on the numbers."""

    dtype: str  # of the factors of recurrent products
    interpret: bool
    padded: bool  # whether any sequence is

    def product(self, rows: Array, matrix: Array) -> Array:
        """What the kernels multiply, outside of them."""
        rounds = self.dtype == "bfloat16" and rows.dtype == jnp.float32
        return (rounded_product if rounds else product)(rows, matrix)


def pallas(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
    *,
    compute: Compute | None = None,
    interpret: bool = False,
) -> tuple[PyTree, PyTree]:
    """`unroll` by kernels that hold the recurrent weights on the chip over all time steps, on an NVIDIA GPU.

    **Tested on a CPU alone**: its numbers and derivatives in Pallas's interpret mode, and that its kernels lower
    to Triton's language. No GPU has run it, and nothing is known of its speed; 'auto' does not take it.

    Before the forward kernel x W_x + b is one product over all steps, and h and c are all that is kept. The
    gates are made again from them, all steps at once; the backward kernel gives the adjoints of all
    carries, and the gradients of the weights are a product each after it. A nudge costs nothing.
    Further derivatives, of any order and in either mode, go by `jax.lax.custom_linear_solve`: backwards
    through the kernel, forwards through a scan.

    A multiprocessor keeps 4·H² weights, H a power of two, in half of its registers: H up to 64 in float32,
    128 in bfloat16. At small batches most multiprocessors have nothing to do, 16 sequences being a block.
    Wider layers would take the columns split over a cluster, h exchanged at every step
    through distributed shared memory, which Triton does not have; Mosaic GPU does, on Hopper and later.
    Triton is here as both JAX 0.10 and 0.11 have it and lower it without a GPU; 0.11 says it will go.

    Args:
        cell, params, xs, carry, lengths, reverse, nudge: as in `unroll`.
        compute: 'bfloat16' rounds the factors of all products to that; sums, gates and carries stay float32.
        interpret: run the kernels without a GPU, slowly, to see what they compute.

    Raises:
        UserError: no NVIDIA GPU, another cell or form of it, too wide, or more than one dtype.
    """
    dtypes = dtypes_of(params, xs, carry, nudge)
    why = not_standard(cell) or (None if interpret else not_nvidia())
    if why is None and len(dtypes) > 1:
        why = f"dtypes {', '.join(dtypes)}, where parameters, inputs and carry should have one"
    if why is not None:
        raise UserError(f"strategy='pallas': {why}; strategy='auto' runs here")
    require_float32(compute, dtypes[0])
    how = How(compute or dtypes[0], interpret, lengths is not None)
    hidden = params.w_h.shape[0]
    require_fit(hidden, how.dtype)
    if xs.shape[0] == 0:
        return scan(cell, params, xs, carry, lengths, reverse, nudge)

    batch_shape = xs.shape[1:-1]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, hidden), carry)
    push = jax.tree.map(lambda leaf: leaf.reshape(xs.shape[0], -1, hidden), nudge)
    counts = None if lengths is None else lengths.reshape(-1)
    steps = side_by_side(xs.reshape(xs.shape[0], flat.h.shape[0], xs.shape[-1]), counts, reverse, push)
    sums = how.product(steps.xs, params.w_x) + params.b
    states = trajectory(how, sums, params.w_h, flat, steps.nudge, steps.valid, steps.first)
    end, ys = outcome(steps, flat, states, states.h, counts, reverse)
    return jax.tree.map(lambda leaf: leaf.reshape(*batch_shape, hidden), end), ys.reshape(-1, *batch_shape, hidden)


def require_fit(hidden: int, dtype: str) -> None:
    """Raises UserError where the recurrent weights are too many for a multiprocessor."""
    size = 4 * persistent.padded_width(hidden) ** 2 * jnp.dtype(dtype).itemsize
    if size > persistent.ON_CHIP:
        raise UserError(
            f"strategy='pallas': hidden={hidden} in {dtype} is {size // 1024} KiB of recurrent weights, and a "
            f"multiprocessor keeps {persistent.ON_CHIP // 1024}: up to 64 units in float32, "
            "128 with compute='bfloat16'; strategy='fused' runs any width"
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def trajectory(
    how: How, sums: Array, w_h: Array, carry: LSTMCarry, nudge: LSTMCarry | None, valid: Array, first: Array
) -> LSTMCarry:
    """The carries [T, B, H] that leave every step; zero where it is not valid. sums is x W_x + b [T, B, 4H]."""
    push = None if nudge is None else nudge[:2]
    there = valid if how.padded else None
    states = persistent.forward(
        _blocks(sums), _blocks(w_h), carry.h, carry.c, there, push, jnp.dtype(how.dtype), how.interpret
    )
    return LSTMCarry(*(zero_unless(valid, leaf) if how.padded else leaf for leaf in states))


@trajectory.defjvp
def _(how: How, primals: tuple, tangents: tuple) -> tuple[LSTMCarry, LSTMCarry]:
    """ṡ_t = J_t ṡ_{t-1} + what s_t moves by while s_{t-1} stands still, as a system of linear equations."""
    sums, w_h, carry, nudge, valid, first = primals
    states = trajectory(how, *primals)

    def pushed(carry: LSTMCarry, nudge: LSTMCarry | None) -> LSTMCarry:
        before = entering(Steps(sums, nudge, valid, first), carry, states)
        return before if nudge is None else jax.tree.map(jnp.add, before, nudge)

    def leaving(sums: Array, w_h: Array, carry: LSTMCarry, nudge: LSTMCarry | None) -> LSTMCarry:
        h, c, _ = pushed(carry, nudge)
        i, f, g, o = _gates(sums + how.product(h, w_h))
        c = f * c + i * g
        return jax.tree.map(lambda leaf: zero_unless(valid, leaf), LSTMCarry(o * jnp.tanh(c), c))

    source = jax.jvp(leaving, (sums, w_h, carry, nudge), tangents[:4])[1]
    before = pushed(carry, nudge)
    i, f, g, o = _gates(sums + how.product(before.h, w_h))
    squashed = jnp.tanh(f * before.c + i * g)
    slopes = Slopes(
        f=f,
        c=o * (1 - squashed**2),
        i=g * i * (1 - i),
        r=before.c * f * (1 - f),
        g=i * (1 - g**2),
        o=squashed * o * (1 - o),
    )
    slopes = jax.tree.map(lambda leaf: zero_unless(valid & ~first, leaf), slopes)

    def turned(dot: LSTMCarry, slopes: Slopes) -> LSTMCarry:
        """J_t ṡ_{t-1}."""
        i, f, g, o = jnp.split(how.product(dot.h, w_h), 4, -1)
        c = slopes.f * dot.c + slopes.i * i + slopes.r * f + slopes.g * g
        return LSTMCarry(slopes.c * c + slopes.o * o, c)

    def less_turned(dots: LSTMCarry) -> LSTMCarry:
        return jax.tree.map(jnp.subtract, dots, turned(jax.tree.map(one_later, dots), slopes))

    def forwards(_: object, source: LSTMCarry) -> LSTMCarry:
        def step(dot: LSTMCarry, now: tuple[Slopes, LSTMCarry]) -> tuple[LSTMCarry, LSTMCarry]:
            dot = jax.tree.map(jnp.add, turned(dot, now[0]), now[1])
            return dot, dot

        return jax.lax.scan(step, jax.tree.map(jnp.zeros_like, carry), (slopes, source))[1]

    def backwards(_: object, source: LSTMCarry) -> LSTMCarry:
        dtype = jnp.dtype(how.dtype)
        return LSTMCarry(*persistent.backward(slopes, _blocks(w_h), source.h, source.c, dtype, how.interpret))

    return states, jax.lax.custom_linear_solve(less_turned, source, forwards, backwards)


def _gates(a: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = jnp.split(a, 4, -1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _blocks(a: Array) -> Array:
    """[..., 4H] -> [..., 4, H]."""
    return a.reshape(*a.shape[:-1], 4, -1)

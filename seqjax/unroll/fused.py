"""The fused strategy: LSTM, GRU and RNN with one derivative for the whole sequence, its products after the loop."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from seqjax.cells.gru import gru_step
from seqjax.cells.lstm import lstm_step
from seqjax.cells.rnn import rnn_step
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.fused_gru import gru_parts
from seqjax.unroll.fused_lstm import lstm_parts
from seqjax.unroll.fused_rnn import rnn_parts
from seqjax.unroll.parts import Parts, Weights
from seqjax.unroll.products import Compute, require_float32, rounded_product
from seqjax.unroll.scan import keep_where, zero_unless


def fused(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    lengths: Array | None,
    reverse: bool,
    nudge: PyTree | None,
    *,
    compute: Compute | None = None,
) -> tuple[PyTree, PyTree]:
    """`unroll` for cells that `parts_of` knows.

    Args:
        cell, params, xs, carry, lengths, reverse, nudge: as in `unroll`.
        compute: 'bfloat16' rounds the factors of all products to that, for an accelerator that has units
            for it; sums, gates, carries, outputs and adjoints remain float32. (Micikevicius et al. 2018,
            "Mixed precision training", section 3.3; bfloat16 needs no loss scale)

    Raises:
        UserError: another cell, a form of it, or dtypes that are not for this strategy.
    """
    parts = parts_of(cell, params, xs, carry, nudge)
    if isinstance(parts, str):
        raise UserError(f"strategy='fused': {parts}; strategy='scan' runs any cell")
    require_float32(compute, str(carry[0].dtype))
    if compute:
        parts = parts._replace(product=rounded_product)
    valid = None
    if lengths is not None:
        valid = jnp.expand_dims(jnp.arange(xs.shape[0]), tuple(range(1, xs.ndim - 1))) < lengths
        xs, nudge = jax.tree.map(lambda leaf: zero_unless(valid, leaf), (xs, nudge))
    return run(parts, reverse, params, xs, carry, valid, nudge)


def parts_of(cell: Cell, params: PyTree, xs: Array, carry: PyTree, nudge: PyTree | None) -> Parts | str:
    """The parts of a cell of this package, known by its step function; otherwise why there are none."""
    step = cell.step
    if step is gru_step:
        if params.b_n is None:
            return "the GRU with its reset gate before the product has two products in a row"
        parts = gru_parts
    elif isinstance(step, functools.partial) and step.func is lstm_step:
        if step.args[0].full_gate_recurrence:
            return "an LSTM with full_gate_recurrence=True sees more than x and h in its products"
        if step.args[0].block_size > 1:
            return f"an LSTM with block_size={step.args[0].block_size} has gates that are narrower than its state"
        parts = lstm_parts(step.args[0])
    elif isinstance(step, functools.partial) and step.func is rnn_step:
        parts = rnn_parts(step.args[0])
    else:
        named = getattr(step, "func", step)
        return f"the step {getattr(named, '__qualname__', named)!r} is not that of this package's lstm, gru or rnn"
    dtypes = sorted({str(jnp.result_type(leaf)) for leaf in jax.tree.leaves((params, xs, carry, nudge))})
    if len(dtypes) > 1 or not jnp.issubdtype(dtypes[0], jnp.floating):
        return f"dtypes {', '.join(dtypes)}, where parameters, inputs and carry should have one of floating point"
    return parts


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def run(
    parts: Parts, reverse: bool, params: PyTree, xs: Array, carry: PyTree, valid: Array | None, nudge: PyTree | None
) -> tuple[PyTree, Array]:
    """A cell over time, by its parts; the derivative is a loop without weight gradients in it.

        ṡ_t = E(ȧ_t, ṡ_{t-1}),    ȧ_t = p_t + ḣ_{t-1} W_h,    p_t = x_t Ẇ_x + ẋ_t W_x + h_{t-1} Ẇ_h + ḃ

    p [T, B, N] is made before the loop, by products over all T·B rows. Transposed, which JAX does,
    that is the backward pass: the loop carries ∂L/∂s and gives ∂L/∂a for every t, and after it

        ∂L/∂W_h = Σ_t h_{t-1}ᵀ ∂L/∂a_t,    ∂L/∂W_x = Σ_t x_tᵀ ∂L/∂a_t,    ∂L/∂x_t = ∂L/∂a_t W_xᵀ

    are a product each. The loop's body is a checkpoint, so that the gates are kept and no derivative
    of theirs. As the rule is a forward one, forward-mode and higher derivatives need no other.
    (weight gradients after the loop: Appleyard, Kočiský & Blunsom 2016)

    Args:
        parts: the cell.
        reverse: from the last step to the first.
        params, xs, carry, nudge: as in `unroll`; zero in the padding, where there is one.
        valid: [T, B], False in the padding; None where there is none.
    """
    end, (ys, _) = _forward(parts, reverse, params, xs, carry, valid, nudge)
    return end, ys


@functools.partial(run.defjvp, symbolic_zeros=True)
def _tangents(parts: Parts, reverse: bool, primals: tuple, tangents: tuple) -> tuple:
    params, xs, carry, valid, nudge = primals
    end, (ys, (entering, saved)) = _forward(parts, reverse, params, xs, carry, valid, nudge, save=True)
    weights = parts.weights(params)
    dot_params, dot_xs, dot_carry, _, dot_nudge = (_filled(tangent) for tangent in tangents)

    pushes = []
    if dot_params is not None:
        dots = parts.weights(dot_params)
        pushes += [_from_x(parts, dots, xs), _from_h(parts, dots, entering[0]), dots.b]
        pushes.append(parts.of_rest(dots.rest, entering, saved))
    if dot_xs is not None:
        pushes.append(_from_x(parts, weights, dot_xs))
    pushes = [push for push in pushes if push is not None]
    push = functools.reduce(jnp.add, pushes) if pushes else None
    if dot_carry is None:
        dot_carry = jax.tree.map(jnp.zeros_like, carry)

    # The transposed loop multiplies by it, and so reads memory in order. Of a single vector XLA on a CPU does that by
    # itself, and with what is turned takes up to 15 times as long.
    turned = weights.w_h.T if carry[0].size > carry[0].shape[-1] else None

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def body(dot_before: PyTree, now: tuple) -> tuple[PyTree, Array]:
        push, dot_nudge, valid, entering, saved = now
        dot_entering = dot_before if dot_nudge is None else jax.tree.map(jnp.add, dot_before, dot_nudge)
        w_h = weights.w_h if turned is None else turned.T
        dot_a = _joined(push, parts.product(dot_entering[0], w_h), weights.b.size)
        dot_after = parts.tangent(weights.rest, entering, saved, dot_entering, dot_a)
        return _kept(valid, dot_after, dot_before)

    # To be transposed, a loop has its linear inputs first.
    dot_end, dot_ys = jax.lax.scan(body, dot_carry, (push, dot_nudge, valid, entering, saved), reverse=reverse)
    return (end, ys), (dot_end, dot_ys)


def _forward(
    parts: Parts,
    reverse: bool,
    params: PyTree,
    xs: Array,
    carry: PyTree,
    valid: Array | None,
    nudge: PyTree | None,
    save: bool = False,
) -> tuple[PyTree, tuple[Array, PyTree]]:
    """The carry at the end, and ys with, where asked for, the entering carries and what the parts save.

    The inputs' products are taken before the loop on an accelerator, which would wait for many small
    ones. A CPU would wait for the memory: there, step by step.
    """
    weights = parts.weights(params)
    before_loop = jax.default_backend() != "cpu"

    width, reached = weights.b.size, weights.w_x.shape[-1]

    def of_x(x: Array) -> Array:
        return parts.product(x, weights.w_x) + weights.b[:reached]

    def body(before: PyTree, now: tuple) -> tuple[PyTree, tuple[Array, PyTree]]:
        x, push, valid = now
        entering = before if push is None else jax.tree.map(jnp.add, before, push)
        from_h = parts.product(entering[0], weights.w_h)
        a = _joined(x if before_loop else of_x(x), from_h, width, weights.b[reached:])
        after, saved = parts.advance(weights.rest, entering, a)
        after, y = _kept(valid, after, before)
        return after, (y, (entering, saved) if save else None)

    return jax.lax.scan(body, carry, (of_x(xs) if before_loop else xs, nudge, valid), reverse=reverse)


def _from_x(parts: Parts, weights: Weights, x: Array) -> Array:
    """x W_x in its columns of a, the others zero."""
    return _widen(parts.product(x, weights.w_x), 0, weights.b.size - weights.w_x.shape[-1])


def _from_h(parts: Parts, weights: Weights, h: Array) -> Array:
    """h W_h in its columns of a, the others zero."""
    return _widen(parts.product(h, weights.w_h), weights.b.size - weights.w_h.shape[-1], 0)


def _joined(from_x: Array | None, from_h: Array, width: int, b: Array | float = 0.0) -> Array:
    """a [..., N]: its first columns come from x, its last from h, and where both reach they are added.

    b is added where h alone reaches. Slices of joined columns cost nothing; columns of zeros, to be added, would be
    written and read.
    """
    first = width - from_h.shape[-1]
    if from_x is None:
        return _widen(from_h, first, 0)
    both = from_x.shape[-1] - first
    columns = from_x[..., :first], from_x[..., first:] + from_h[..., :both], from_h[..., both:] + b
    return jnp.concatenate([each for each in columns if each.shape[-1]], -1)


def _widen(a: Array, left: int, right: int) -> Array:
    return jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(left, right)]) if left or right else a


def _kept(valid: Array | None, after: PyTree, before: PyTree) -> tuple[PyTree, Array]:
    """The carry that stands still and the output that is zero where a step is not valid."""
    y = after[0]
    if valid is None:
        return after, y
    return jax.tree.map(lambda new, old: keep_where(valid, new, old), after, before), zero_unless(valid, y)


def _filled(tangent: PyTree) -> PyTree | None:
    """A tangent with arrays for all of its leaves; None if all are zero."""
    is_zero = lambda leaf: isinstance(leaf, SymbolicZero)  # noqa: E731
    leaves = jax.tree.leaves(tangent, is_leaf=is_zero)
    if all(map(is_zero, leaves)):
        return None
    return jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if is_zero(leaf) else leaf, tangent, is_leaf=is_zero
    )

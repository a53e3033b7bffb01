"""How a cell runs over time: one front door, `unroll`, and the strategies behind it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax import spec
from seqjax.cells.carries import require_form
from seqjax.cells.preparation import prepared
from seqjax.types import Array, Cell, PyTree, UserError
from seqjax.unroll.associative import associative
from seqjax.unroll.checkpointed import checkpointed
from seqjax.unroll.cudnn import cudnn
from seqjax.unroll.fused import fused, parts_of
from seqjax.unroll.newton import NewtonResult, deer, newton, quasi_deer
from seqjax.unroll.pallas_lstm import pallas
from seqjax.unroll.recording import recording
from seqjax.unroll.scan import scan
from seqjax.unroll.truncated import truncated

__all__ = ["STRATEGIES", "NewtonResult", "find_strategy", "newton", "recording", "unroll", "zero_nudge"]

STRATEGIES = {
    "scan": scan,
    "fused": fused,
    "cudnn": cudnn,
    "pallas": pallas,
    "checkpointed": checkpointed,
    "associative": associative,
    "deer": deer,
    "quasi_deer": quasi_deer,
    "truncated": truncated,
}


def unroll(
    cell: Cell,
    params: PyTree,
    xs: Array,
    carry: PyTree | None = None,
    *,
    lengths: Array | None = None,
    reverse: bool = False,
    nudge: PyTree | None = None,
    strategy: str = "auto",
) -> tuple[PyTree, PyTree]:
    """Run a cell over a sequence.

        s_t, y_t = step(params, s_{t-1} + nudge_t, x_t)        for t = 0 ... T-1

    Past a sequence's length the carry stands still and the output is zero; whatever the padding
    holds, it takes part in no value and no gradient. `nudge_t` is added to the carry that *enters*
    step t, so that the gradient of a loss with respect to a zero nudge is dL/ds_{t-1}, in which the
    output y_t of that step counts; at t = 0 it is the gradient with respect to the initial carry.

    Args:
        cell: the Cell.
        params: what `cell.init` gave.
        xs: inputs [T, ..., D]; the axes between are the batch's.
        carry: the carry to start from; the cell's initial carry if None. Its dtypes are kept.
        lengths: steps that exist in each sequence [...], at least 1; None, and more than T, for all T.
        reverse: read each sequence from its last valid step to its first. ys stay in their places.
        nudge: a pytree as `zero_nudge` makes it, each leaf [T, ...] and added to the carry.
        strategy: 'auto', or a spec of one of STRATEGIES; every one gives the plain scan's numbers
            (but for the gradient of 'truncated', and where compute='bfloat16' rounds).
            'auto'          'fused' for the cells that it takes, 'scan' for all others
            'scan'          one step after the other
            'fused'         lstm, gru and rnn, with weight gradients as single products after the loop;
                            'fused(compute="bfloat16")' rounds the factors of its products
            'cudnn'         the standard lstm on an NVIDIA GPU, by NVIDIA's library, without nudge or second order;
                            not run on one yet
            'pallas'        the standard lstm on an NVIDIA GPU, its weights kept on the chip, up to 64 or 128 units;
                            not run on one yet
            'checkpointed'  for long sequences, whose gradient keeps about 2·√T steps,
                            or 3·T^(1/3) by 'checkpointed(levels=3)'
            'associative'   all steps at once, for linear cells
            'deer'          all at once by Newton's method, for any cell that forgets; the plain scan where
                            that does not converge: 'deer(tolerance=1e-6, max_iterations=50, damping=0.5)'
            'quasi_deer'    the same with diagonal Jacobians, for wider cells; `newton` tells how it went
            'truncated'     a gradient that goes back few steps: 'truncated(window=50, stride=10)'

    Returns:
        The carry after the last valid step, and ys [T, ..., H].

    Raises:
        UserError: an unknown strategy or one that the cell is not for, or lengths that do not have
            the batch's shape, or a carry that has not the form and shapes of the cell's initial one.
    """
    run = find_strategy(strategy)
    batch_shape = xs.shape[1:-1]
    if lengths is not None:
        lengths = jnp.minimum(jnp.asarray(lengths), xs.shape[0])
        if lengths.shape != batch_shape:
            raise UserError(f"lengths of shape {lengths.shape} for a batch of shape {batch_shape}")
    if carry is None:
        carry = cell.initial_carry(params, batch_shape)
    else:
        require_form(carry, jax.eval_shape(lambda params: cell.initial_carry(params, batch_shape), params))
    cell, params = prepared(cell, params)
    return run(cell, params, xs, carry, lengths, reverse, nudge)


def find_strategy(text: str) -> Callable[..., tuple[PyTree, PyTree]]:
    """What 'auto' or the spec of a strategy names, its options bound. Raises UserError."""
    if text == "auto":
        return auto
    with spec.prefixed(f"strategy={text!r}"):
        found = spec.parse(text)
        if found.name in STRATEGIES:
            given = inspect.signature(scan).parameters
            spec.check(found, STRATEGIES[found.name], list(given))
            return functools.partial(STRATEGIES[found.name], **found.arguments)
    raise UserError(f"strategy={text!r}; expected 'auto' or one of {', '.join(map(repr, STRATEGIES))}")


def auto(
    cell: Cell, params: PyTree, xs: Array, carry: PyTree, lengths: Array | None, reverse: bool, nudge: PyTree | None
) -> tuple[PyTree, PyTree]:
    """'fused' where it takes the cell (see `fused.parts_of`), else 'scan'."""
    run = scan if isinstance(parts_of(cell, params, xs, carry, nudge), str) else fused
    return run(cell, params, xs, carry, lengths, reverse, nudge)


def zero_nudge(cell: Cell, params: PyTree, xs: Array) -> PyTree:
    """Zeros [T, ...] for every component of the carry, to differentiate with respect to."""
    carry = cell.initial_carry(params, xs.shape[1:-1])
    return jax.tree.map(lambda leaf: jnp.zeros((xs.shape[0], *leaf.shape), leaf.dtype), carry)

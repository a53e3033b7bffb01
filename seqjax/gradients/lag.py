"""How much of each parameter's gradient every time step contributed, and from how far back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.adjoints import backward, record, through
from seqjax.gradients.blocks import gate_blocks
from seqjax.gradients.norms import LN10, components, log_mean
from seqjax.gradients.scaled import Scaled, log_norm, share_scale
from seqjax.gradients.states import ends_of, read_after
from seqjax.types import Array, Batch, Direction, Model, PyTree, UserError
from seqjax.unroll.scan import zero_unless

HELD = 2**24  # numbers of the weights' gradients, one gradient a sequence, that are held at a time

Part = tuple[str, str | None]  # a parameter leaf, and a block of its columns or None for all


class StepGradients(NamedTuple):
    """What each step of each sequence contributed to the gradient of a cell's parameters.

    log10_norm: name -> [T, B], log10 ‖g_t‖ of each sequence's own contribution; -inf at the padding.
    share:      name -> [T, B], the signed projection g_t · g / ‖g‖² on the gradient of the whole
                batch; over all steps and sequences these sum to 1 (all 0 where that gradient is 0).
    gradient:   g = Σ_t Σ_b g_t, with one log for all.
    The names are 'all'; each leaf ('w_h'); each block of columns over its leaves ('forget_gate');
    and both ('w_h/forget_gate').
    """

    log10_norm: dict[str, Array]
    share: dict[str, Array]
    gradient: Scaled


def step_gradients(
    way: Direction,
    carries: PyTree,
    xs: Array,
    ys_bar: Scaled,
    lengths: Array | None = None,
    blocks: Sequence[str] | None = None,
) -> StepGradients:
    """Each step's part in the gradient of the parameters, by leaf and by gate.

        g_t = (∂(s_t, y_t)/∂W)ᵀ (δ_{t+1}, ∂L/∂y_t),        Σ_t g_t = dL/dW        (δ of `adjoints`)

    The sum is exact for the carry that the sequence started from: what reaches parameters through a
    learned initial carry belongs to no step. Norms are taken per sequence, as a norm of the batch's
    sum would let signs cancel; the share tells what is left of them in that sum. Numbers [T, |W|]
    are never held: at most HELD, or one sequence's gradient if that is more. (Werbos 1990; the split by the
    step: Pascanu, Mikolov & Bengio 2013, eq. 4, summed over the later losses)

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        ys_bar: ∂L/∂y_t, value [T, B, H], log [T, B].
        lengths: [B] steps that exist.
        blocks: names of the blocks of columns, as many equal ones, into which the leaves with the
            widest last axis are cut; None for what is known of `lstm` and `gru`, whose gates are
            named as their taps, and one block for any other cell, and where cells share their gates.

    Raises:
        UserError: a width that the blocks do not divide, or a block named like a leaf.
    """
    blocks = gate_blocks(way.cell) if blocks is None else tuple(blocks)
    cut = _cutter(way.params, blocks)
    steps = jnp.arange(xs.shape[0])[:, None]
    deltas, _ = backward(way, carries, xs, ys_bar, lengths)
    leaving = jax.tree.map(lambda leaf: read_after(leaf, way.reverse), deltas)
    if lengths is not None:
        blank = lambda leaf: zero_unless(steps < jnp.asarray(lengths), leaf)  # noqa: E731
        xs = blank(xs)
        leaving, ys_bar = (Scaled(jax.tree.map(blank, part.value), part.log) for part in (leaving, ys_bar))
    bars, log = share_scale(leaving, ys_bar)
    size = log_norm(bars, log)
    top = jnp.where(jnp.isfinite(jnp.max(size)), jnp.max(size), 0.0)
    log = jnp.where(size == -jnp.inf, top, log)  # a zero has no scale of its own

    def pull(carry: PyTree, x: Array, bars: PyTree) -> PyTree:
        after, back = jax.vjp(lambda params: way.cell.step(params, carry, x), way.params)
        return back(jax.tree.map(lambda bar, new: bar.astype(new.dtype), tuple(bars), after))[0]

    def add(total: PyTree, now: tuple[PyTree, Array, PyTree, Array]) -> tuple[PyTree, None]:
        carry, x, bars, log = now
        scale = jnp.exp(jnp.minimum(log - top, 0.0))
        bars = jax.tree.map(lambda bar: bar * scale.reshape(scale.shape + (1,) * (bar.ndim - 1)), bars)
        return jax.tree.map(jnp.add, total, pull(carry, x, bars)), None

    tape = (carries, xs, bars, log)
    total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, way.params), tape)
    parts = cut(total)
    whole = jnp.stack([log_norm(part, top) for part in parts.values()])
    zero = whole == -jnp.inf
    lift = jnp.where(zero, 0.0, jnp.exp(top - whole))
    unit = {part: gradient * lift[place] for place, (part, gradient) in enumerate(parts.items())}

    def measure(one: tuple[PyTree, Array, PyTree, Array]) -> tuple[Array, Array]:
        carry, x, bars, log = one
        found = cut(pull(carry, x, bars))
        dots = jnp.stack([jnp.sum(gradient * unit[part]) for part, gradient in found.items()])
        half = jnp.exp(jnp.where(zero, 0.0, (log - whole) / 2))  # twice, as its square may overflow
        return jnp.stack([log_norm(gradient, log) for gradient in found.values()]), dots * half * half

    held = max(1, HELD // sum(leaf.size for leaf in jax.tree.leaves(way.params)))
    every = jax.vmap(measure) if held >= xs.shape[1] else lambda row: jax.lax.map(measure, row, batch_size=held)
    norms, shares = jax.lax.map(every, tape)  # [T, B, parts]
    names, member = _groups(list(parts))
    inside = jnp.where(member, 0.0, -jnp.inf)  # [names, parts]
    of = 0.5 * jax.nn.logsumexp(2 * whole + inside, -1, keepdims=True)
    weights = jnp.where(member & ~zero, jnp.exp(2 * (whole - of)), 0.0)
    norms = 0.5 * jax.nn.logsumexp(2 * norms[..., None, :] + inside, -1) / LN10
    shares = jnp.sum(shares[..., None, :] * weights, -1)
    by_name = lambda array: {name: array[..., place] for place, name in enumerate(names)}  # noqa: E731
    return StepGradients(by_name(norms), by_name(shares), Scaled(total, top))


def model_step_gradients(
    model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array]
) -> tuple[tuple[StepGradients, ...], ...]:
    """`step_gradients` of every layer and direction of a model, dropout off.

    As in `model_adjoints` the loss is multiplied by the number of sequences, so that a norm is that
    of one sequence's loss; `gradient` is then the number of sequences times that of the mean loss.
    """
    layers = model.layers(params)
    tapes, ys = record(layers, model.encode(params, batch.inputs), batch.lengths)
    size = batch.mask.shape[-1]
    ys_bar = jax.grad(lambda ys: size * loss(model.read(params, ys, batch.lengths, batch.inputs), batch))(ys)
    found = []
    above = Scaled(ys_bar, jnp.zeros(ys_bar.shape[:2]))
    for layer, (xs, carries) in zip(reversed(layers), reversed(tapes)):
        parts = jnp.split(above.value, len(layer), -1)
        found.append(
            tuple(
                step_gradients(way, states, xs, Scaled(part, above.log), batch.lengths)
                for way, states, part in zip(layer, carries, parts)
            )
        )
        _, above = through(layer, xs, carries, above, batch.lengths)
    return tuple(reversed(found))


def by_lag(values: Array, lengths: Array | None = None, reverse: bool = False) -> Array:
    """[T, B] by time step -> [T, B] by lag: how many steps before the last one that is read.

    Lag l is step length - 1 - l, or step l where the sequence is read in reverse. NaN where a
    sequence has no such step.
    """
    lags = jnp.arange(values.shape[0])[:, None]
    counts = ends_of(lengths, *values.shape)
    steps = jnp.broadcast_to(lags, values.shape) if reverse else jnp.maximum(counts - 1 - lags, 0)
    return jnp.where(lags < counts, jnp.take_along_axis(values, steps, 0), jnp.nan)


def mean_log10(log10: Array, lengths: Array | None = None) -> Array:
    """log10 of the mean of 10^values [T, B] over sequences -> [T], by step or by lag.

    Only sequences that have the step count; NaN at a step that none has.
    """
    valid = jnp.arange(log10.shape[0])[:, None] < ends_of(lengths, *log10.shape)
    return log_mean(log10 * LN10, valid) / LN10


def lag_histogram(
    share: Array, edges: Sequence[int] | None = None, lengths: Array | None = None, reverse: bool = False
) -> tuple[Array, Array]:
    """The shares [T, B] of `step_gradients` summed by lag into the bins edges_i <= lag < edges_{i+1}.

    The edges are 0, 1, 2, 4, 8 ... past T where none are given; then the bars sum to 1.

    Returns:
        edges [N + 1] and the sums [N].

    Raises:
        UserError: fewer than two edges, or edges that do not rise.
    """
    edges = [0, *(2**k for k in range((share.shape[0] - 1).bit_length() + 1))] if edges is None else list(edges)
    if len(edges) < 2 or any(b <= a for a, b in itertools.pairwise(edges)):
        raise UserError(f"edges={tuple(edges)}; expected at least two, each larger than the one before")
    lags = jnp.arange(share.shape[0])[:, None]
    summed = jnp.sum(jnp.where(lags < ends_of(lengths, *share.shape), by_lag(share, lengths, reverse), 0.0), 1)
    inside = (lags >= jnp.array(edges[:-1])) & (lags < jnp.array(edges[1:]))
    return jnp.array(edges), jnp.sum(jnp.where(inside, summed[:, None], 0.0), 0)


def _cutter(params: PyTree, blocks: tuple[str, ...]) -> Callable[[PyTree], dict[Part, Array]]:
    """What cuts a gradient into its leaves, and those with gates side by side into blocks."""
    widest = _widest(params)
    if blocks and widest % len(blocks):
        raise UserError(f"blocks={blocks}; the parameters' last axis of {widest} is not {len(blocks)} equal blocks")
    for block in set(blocks) & set(components(params, "params")):
        raise UserError(f"blocks={blocks}; {block!r} is the name of a parameter, so call that block otherwise")

    def cut(params: PyTree) -> dict[Part, Array]:
        parts: dict[Part, Array] = {}
        for name, leaf in components(params, "params").items():
            if blocks and leaf.ndim and leaf.shape[-1] == widest:
                parts |= {(name, block): part for block, part in zip(blocks, jnp.split(leaf, len(blocks), -1))}
            else:
                parts[name, None] = leaf
        return parts

    return cut


def _widest(params: PyTree) -> int:
    return max((leaf.shape[-1] for leaf in jax.tree.leaves(params) if leaf.ndim), default=0)


def _groups(parts: list[Part]) -> tuple[list[str], Array]:
    """The names that are told, and which parts are in each [names, parts]."""
    groups: dict[str, list[Part]] = {"all": parts}
    for leaf, block in parts:
        groups.setdefault(leaf, []).append((leaf, block))
        if block is not None:
            groups.setdefault(block, []).append((leaf, block))
            groups[f"{leaf}/{block}"] = [(leaf, block)]
    return list(groups), jnp.array([[part in group for part in parts] for group in groups.values()])

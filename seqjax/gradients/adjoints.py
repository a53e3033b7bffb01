"""Adjoints: the gradient of the loss with respect to the carry entering every time step."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.cells.carries import require_after, require_batch, require_floats
from seqjax.cells.clipped import unclipped
from seqjax.gradients.scaled import Scaled, share_scale
from seqjax.types import Array, Batch, Cell, Direction, Layers, Model, PyTree, UserError
from seqjax.unroll import recording, unroll
from seqjax.unroll.scan import keep_where, zero_unless


def adjoints(
    step: Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]],
    params: PyTree,
    carry: PyTree,
    xs: Array,
    loss: Callable[[PyTree], Array],
    lengths: Array | None = None,
    reverse: bool = False,
) -> Scaled:
    """δ_t = dL/ds_{t-1} of any step function, for the carry that enters every step t.

        s_t, y_t = step(params, s_{t-1}, x_t),        L = loss(y_0 ... y_{T-1})

    One forward and one backward pass; what they are is in `backward`. `log10_norms` makes curves of it.

    Args:
        step: (params, carry, x [..., D]) -> (carry, y), for one sequence or a batch.
        params: whatever `step` takes.
        carry: the carry to start from, leaves [B, ...]; all of floating point.
        xs: inputs [T, B, D], or [T, D] for one sequence.
        loss: ys [T, B, H], zero past a sequence's length -> scalar. A mean over B sequences has δ B times smaller
            than each sequence's own.
        lengths: [B] steps that exist; None for all T.
        reverse: the sequence is read from its last valid step to its first.

    Returns:
        δ with the carry's structure, value leaves [T, B, ...], log [T, B].

    Raises:
        UserError: a carry that is not of floating point, has not the batch's axes, or is another one after a step;
            a loss that depends on no step.
    """
    require_batch(carry, xs.shape[1:-1])
    require_after(carry, jax.eval_shape(step, params, carry, jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)))
    lengths = None if lengths is None else jnp.asarray(lengths)
    cell = Cell(lambda key, size: params, lambda params, shape: carry, step)
    way = Direction(cell, params, reverse)
    _, (carries, ys) = unroll(recording(cell), params, xs, carry, lengths=lengths, reverse=reverse)
    if not _depends(loss, ys):
        raise UserError("the loss depends on no step's output; expected loss(ys) to use ys")
    ys_bar = jax.grad(loss)(ys)
    return backward(way, carries, xs, Scaled(ys_bar, jnp.zeros(xs.shape[:-1])), lengths)[0]


def _depends(loss: Callable[[PyTree], Array], ys: PyTree) -> bool:
    """Whether the program of the loss reads any of its inputs."""
    program = jax.make_jaxpr(loss)(ys).jaxpr
    read = {id(v) for equation in program.eqns for v in equation.invars} | {id(v) for v in program.outvars}
    return any(id(v) in read for v in program.invars)


def backward(
    way: Direction, carries: PyTree, xs: Array, ys_bar: Scaled, lengths: Array | None = None
) -> tuple[Scaled, Scaled]:
    """The backward recursion over one cell, rescaled at every step so that nothing underflows.

        δ_t = (∂s_t/∂s_{t-1})ᵀ δ_{t+1} + (∂y_t/∂s_{t-1})ᵀ ∂L/∂y_t,        δ_t = dL/ds_{t-1}

    δ_t belongs to the carry that *enters* step t, and the step's own output counts; these are the
    gradients with respect to the zero nudge of `unroll`, to which the tests compare them. The
    recursion is linear, so each sequence's δ may be carried as a mantissa and a logarithm: a norm
    of 1e-200 comes out as such in float32. It costs about a forward and a backward pass. A clip inside
    the backward pass (`cells.clipped`) is left out: δ is the gradient that the clip would be given.
    (Pascanu, Mikolov & Bengio 2013, eq. 3-5; Werbos 1990)

    Args:
        way: the cell, its parameters, and its direction.
        carries: the carries entering each step [T, B, ...], as `unroll(recording(cell), ...)` gives.
        xs: inputs [T, B, D].
        ys_bar: ∂L/∂y_t, value [T, B, H], log [T, B].
        lengths: [B] steps that exist; at the others the adjoint is zero.

    Returns:
        δ with the carry's structure, leaves [T, B, ...], and ∂L/∂x_t, value [T, B, D].

    Raises:
        UserError: a carry that is not of floating point.
    """
    require_floats(carries)
    cell, lengths = unclipped(way.cell), None if lengths is None else jnp.asarray(lengths)
    steps = jnp.arange(xs.shape[0])
    batch = xs.shape[1:-1]
    start = Scaled(jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), carries), jnp.zeros(batch))

    def back(later: Scaled, now: tuple[Array, PyTree, Array, Scaled]) -> tuple[Scaled, tuple[Scaled, Scaled]]:
        t, carry, x, y_bar = now
        (carry_bar, y_bar), log = share_scale(later, y_bar)
        (after, y), pull = jax.vjp(lambda s, x: cell.step(way.params, s, x), carry, x)
        cast = jax.tree.map(lambda bar, primal: bar.astype(primal.dtype), (carry_bar, y_bar), (after, y))
        delta, x_bar = pull(cast)
        if lengths is None:
            return Scaled(delta, log), (Scaled(delta, log), Scaled(x_bar, log))
        valid = t < lengths
        zeroed = jax.tree.map(lambda leaf: zero_unless(valid, leaf), (delta, x_bar))
        kept = jax.tree.map(lambda new, old: keep_where(valid, new, old), Scaled(delta, log), later)
        return kept, (Scaled(zeroed[0], log), Scaled(zeroed[1], log))

    if lengths is not None:
        exists = steps.reshape(-1, *(1 for _ in batch)) < lengths
        xs = zero_unless(exists, xs)
    _, (deltas, xs_bar) = jax.lax.scan(back, start, (steps, carries, xs, ys_bar), reverse=not way.reverse)
    return deltas, xs_bar


def model_adjoints(
    model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array]
) -> tuple[tuple[Scaled, ...], ...]:
    """Adjoints of every layer and direction of a model, dropout off.

    The loss is multiplied by the number of sequences, so that a norm is that of one sequence's loss.

    Args:
        model: the Model.
        params: its parameters.
        batch: the sequences.
        loss: (outputs, batch) -> scalar, a mean over the batch, as Task.loss.

    Returns:
        A tuple (layers) of tuples (directions) of δ, leaves [T, B, ...].
    """
    layers = model.layers(params)
    tapes, ys = record(layers, model.encode(params, batch.inputs), batch.lengths)
    size = batch.mask.shape[-1]
    ys_bar = jax.grad(lambda ys: size * loss(model.read(params, ys, batch.lengths, batch.inputs), batch))(ys)
    above, found = Scaled(ys_bar, jnp.zeros(ys_bar.shape[:2])), []
    for layer, (xs, carries) in zip(reversed(layers), reversed(tapes)):
        deltas, above = through(layer, xs, carries, above, batch.lengths)
        found.append(deltas)
    return tuple(reversed(found))


def record(layers: Layers, xs: Array, lengths: Array | None) -> tuple[list[tuple[Array, list[PyTree]]], Array]:
    """Run a stack: for each layer its inputs and each direction's entering carries; the top's ys."""
    tapes = []
    for layer in layers:
        runs = [unroll(recording(way.cell), way.params, xs, lengths=lengths, reverse=way.reverse)[1] for way in layer]
        tapes.append((xs, [carries for carries, _ in runs]))
        xs = jnp.concatenate([ys for _, ys in runs], -1)
    return tapes, xs


def through(
    layer: tuple[Direction, ...], xs: Array, carries: list[PyTree], ys_bar: Scaled, lengths: Array | None
) -> tuple[tuple[Scaled, ...], Scaled]:
    """From ∂L/∂ys of a layer, directions side by side, to each direction's δ, and ∂L/∂xs [T, B, D]."""
    parts = jnp.split(ys_bar.value, len(layer), -1)
    passes = [
        backward(way, states, xs, Scaled(part, ys_bar.log), lengths) for way, states, part in zip(layer, carries, parts)
    ]
    bars, log = share_scale(*(x_bar for _, x_bar in passes))
    return tuple(delta for delta, _ in passes), Scaled(sum(bars), log)

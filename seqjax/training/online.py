"""Learning online: parameters that change at every step of a sequence, by the gradient forwards in time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from seqjax.cells.carries import changes_backwards
from seqjax.gradients.rtrl import Influence, rtrl_start, rtrl_step
from seqjax.spec import parse, prefixed
from seqjax.training.config import Config
from seqjax.types import Array, Batch, Cell, Model, PyTree, Task, UserError


def whole(model: Model) -> Cell:
    """The Model as one Cell: its carry is that of every layer, its output the answer to the step.

    Args:
        model: one that reads in one direction and answers at every step. Its `init` has no use here.
    """

    def initial_carry(params: PyTree, batch_shape: tuple[int, ...]) -> PyTree:
        return tuple(way.cell.initial_carry(way.params, batch_shape) for (way,) in model.layers(params))

    def step(params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        y, after = model.encode(params, x), []
        for (way,), before in zip(model.layers(params), carry):
            reached, y = way.cell.step(way.params, before, y)
            after.append(reached)
        return tuple(after), model.read(params, y, None, None)

    return Cell(lambda key, size: model.init(key), initial_carry, step)


def require(config: Config, task: Task, model: Model, parts: int) -> None:
    """Raise UserError where a task or a model cannot be learned online, or where RTRL would need too much memory."""
    batch = jax.eval_shape(lambda: task.sample(jax.random.key(0), config.batch_size))
    inputs = jax.tree.leaves(batch.inputs)[0]
    steps = inputs.shape[:2]
    if task.readout != "every" or batch.mask.shape != steps or batch.targets.shape[:2] != steps:
        words = "; an update after each sequence is the same: leave --online out" if task.readout == "last" else ""
        raise UserError(f"--online: --task={config.task!r} is not asked at every step{words}")
    if config.bidirectional:
        raise UserError("--online: --bidirectional reads what is still to come; leave it out")
    for name in ("dropout", "input_dropout", "penalty"):
        if getattr(config, name) != Config._field_defaults[name]:
            raise UserError(f"--online: --{name}={getattr(config, name)} is of a gradient over time; leave it out")
    if parse(config.strategy).name == "truncated":
        words = "is of a gradient back in time; --cell=\"scaled(cell='...', h=0)\" stops the one forwards"
        raise UserError(f"--online: --strategy={config.strategy} {words}")
    if parts > 1:
        raise UserError(f"--online: the batch of a step is not cut into parts, --mesh has data={parts}; expected 1")

    def first_step(key: Array) -> PyTree:
        params = model.init(key)
        begun, x = start(model, params, config.batch_size), jnp.zeros(inputs.shape[1:], inputs.dtype)
        return begun, whole(model).step(params, whole(model).initial_carry(params, x.shape[:1]), x)

    with prefixed(f"--online, --cell={config.cell!r}"):
        clipped = changes_backwards(first_step, jax.random.key(0))
    if clipped:
        words = "changes its gradient on the way back, and RTRL has no way back"
        raise UserError(f"--online: --cell={config.cell!r} {words}; expected a cell that does not, or no --online")


def start(model: Model, params: PyTree, batch_size: int) -> Influence:
    """Where so many sequences stand before their first step. Raises UserError as `rtrl_start`."""
    return rtrl_start(whole(model), params, batch_size)


def learn(
    task: Task, model: Model, optimizer: optax.GradientTransformation, norm: Callable[[PyTree], Array],
    params: PyTree, opt_state: PyTree, before: Influence | tuple[()], batch: Batch,
) -> tuple[PyTree, PyTree, Influence, Array, Array]:  # fmt: skip
    """One update at each step at which something is asked, by the exact gradient of that step's loss.

        L_t = mean over the sequences that are asked at t
        θ   <- θ + optimizer(dL_t/dθ)

    dL_t/dθ reaches back through all steps to the beginning, or to where a cell such as `scaled` stops it (what
    Hochreiter & Schmidhuber 1997 call truncated, appendix A.1); the steps before were taken with the parameters
    as they were then. The optimizer counts these updates. (Williams & Zipser 1989)

    Args:
        task, model: what is learned; see `require`.
        optimizer: at the run's learning rate.
        norm: the L2 norm of a gradient.
        params, opt_state: before the first step.
        before: where the sequences stand, of a text that is carried on; () for a fresh state.
        batch: the sequences.

    Returns:
        Parameters, the optimizer's state, where the sequences stand, the loss (a mean over the mask, each step's
        by the parameters before its update), and the root mean square of the gradients' norms.
    """
    cell = whole(model)
    before = before or start(model, params, batch.mask.shape[1])

    def loss(outputs: Array, asked: tuple[Array, Array, Array]) -> Array:
        one = jax.tree.map(lambda leaf: leaf[None, None], (outputs, asked))
        return task.loss(one[0], Batch(*one[1]))

    def step(state: tuple[PyTree, PyTree, Influence], now: tuple) -> tuple[tuple, tuple[Array, Array]]:
        params, opt_state, influence = state
        t, asked = now
        count = jnp.sum(asked[2])
        valid = None if batch.lengths is None else t < batch.lengths
        influence, value, grads = rtrl_step(cell, params, influence, asked[0], asked, loss, valid)
        grads = jax.tree.map(lambda leaf: leaf / jnp.maximum(count, 1).astype(leaf.dtype), grads)
        updates, moved = optimizer.update(grads, opt_state, params)
        after = optax.apply_updates(params, updates), moved
        kept = jax.tree.map(lambda new, old: jnp.where(count > 0, new, old), after, (params, opt_state))
        return (*kept, influence), (value, norm(grads))

    number = jnp.arange(len(batch.mask))
    state, (values, norms) = jax.lax.scan(
        step, (params, opt_state, before), (number, (batch.inputs, batch.targets, batch.mask))
    )
    asked_at = jnp.maximum(jnp.sum(jnp.any(batch.mask > 0, 1)), 1)
    return *state, jnp.sum(values) / jnp.maximum(jnp.sum(batch.mask), 1), norm(norms) / jnp.sqrt(asked_at)

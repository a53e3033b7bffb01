"""One program: initialize, train some steps, evaluate and probe, each a pure function of one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.data.streamed import count_of
from seqjax.gradients.probe import Probe, probe
from seqjax.models.stack import first_carries
from seqjax.training import online
from seqjax.training.clipping import norm_that_counts
from seqjax.training.config import Config
from seqjax.training.evaluation import evaluate as measured
from seqjax.training.optimizer import make_optimizer, make_schedule
from seqjax.training.penalty import make_penalty
from seqjax.training.split import mean_over_shares, split_model
from seqjax.training.state import NEVER, RunState, blank, nothing_recent
from seqjax.training.stream import begins, on_batch, train_batch
from seqjax.types import Array, Batch, Model, PyTree, Task, UserError


class Program(NamedTuple):
    """The functions of one run, to be laid out over the run axis.

    init:     (seed, learning_rate, enabled) -> RunState
    train:    (RunState, steps, data) -> RunState, so many steps on; a run that had ended at its last evaluation rests
    evaluate: (RunState, data) -> (RunState, metrics), NaN where the run has rested since the last evaluation
    probe:    (RunState, data) -> Probe of the probe batch, the same for every run
    data:     what the functions read: (train, test, the split to select on) of real data, each () where there is none

    Into how many calls of `train` the steps to an evaluation are cut makes no difference, not of a bit.
    """

    init: Callable[[Array, Array, Array], RunState]
    train: Callable[[RunState, Array, PyTree], RunState]
    evaluate: Callable[[RunState, PyTree], tuple[RunState, dict[str, Array]]]
    probe: Callable[[RunState, PyTree], Probe]
    data: PyTree


def make_program(
    config: Config, task: Task, eval_task: Task, model: Model, parts: int = 1, select_task: Task | None = None
) -> Program:
    """The Program of a Config. Raises UserError where a batch is larger than the training data.

    With parts > 1 it runs on as many devices along the mesh's `data` axis, each with its share of
    every batch; what it gives is the same on all.
    """
    data = (
        () if task.examples is None else task.examples.train,
        () if eval_task.examples is None else eval_task.examples.test,
        () if select_task is None or select_task.examples is None else select_task.examples.test,
    )
    names = ("train_loss", "grad_norm", "loss", "score") + (() if select_task is None else ("selection_loss",))
    if task.examples and config.batch_size > (count := count_of(data[0])):
        raise UserError(f"--batch_size={config.batch_size}; expected at most {count}, all the examples to train on")
    streams = task.examples is not None and task.examples.streams
    if streams and parts > 1:
        raise UserError(f"--mesh: data={parts}, but --task={config.task!r} carries its state; expected data=1")
    if config.bidirectional and (streams or task.continuation is not None):
        raise UserError(f"--bidirectional: --task={config.task!r} asks for what comes next, and it would be read")
    if config.online:
        online.require(config, task, model, parts)
    optimizer = make_optimizer(config.optimizer, config.clip_norm, config.clip_value)
    norm = norm_that_counts(config.clip_norm, config.clip_value)
    schedule = make_schedule("--schedule", config.schedule)
    penalty = make_penalty(config.penalty)
    divided = split_model(model, parts)

    def fresh(params: PyTree) -> PyTree:
        """What a text that is carried on begins with; nothing for sequences that begin each for itself."""
        if not streams:
            return ()
        if config.online:
            return online.start(model, params, config.batch_size)
        return first_carries(model.layers(params), config.batch_size)

    def init(seed: Array, learning_rate: Array, enabled: Array) -> RunState:
        run = blank(seed, learning_rate, enabled)
        params = model.init(run.stream("init"))
        chosen = () if select_task is None else {"loss": jnp.asarray(jnp.inf), "params": params}
        opt_state = optimizer(learning_rate).init(params)
        return run.replace(params=params, opt_state=opt_state, carry=fresh(params), chosen=chosen)

    forcing = make_schedule("--teacher_forcing", config.teacher_forcing)
    if forcing is not None and (task.readout != "decode" or not task.tokens):
        given = f"--teacher_forcing={config.teacher_forcing!r}"
        raise UserError(f"{given}: --task={config.task!r} writes no sequence of symbols")
    if parts > 1 and task.readout == "decode":
        raise UserError(f"--mesh: data={parts}, but --task={config.task!r} writes sequences; expected data=1")

    def loss(
        params: PyTree, carry: PyTree, batch: Batch, dropout_key: Array | None, step: Array
    ) -> tuple[Array, PyTree]:
        """The loss, and what is carried to the next window of a text."""
        more = {} if forcing is None else {"teacher_forcing": forcing(step)}
        more |= {"carry": carry} if streams else {}
        outputs, after = divided.apply(params, batch.inputs, batch.lengths, dropout_key=dropout_key, **more)
        value = task.loss(outputs, batch)
        value = value if penalty is None else value + penalty(model, params, batch, task.loss)
        return value, after if streams else ()

    def carried(run: RunState, train: PyTree) -> PyTree:
        """What the next step begins with: anew where the parts of the text do."""
        if not streams:
            return ()
        anew = begins(train, run.step, config.batch_size)
        return jax.tree.map(lambda new, old: jnp.where(anew, new, old), fresh(run.params), run.carry)

    def rated(run: RunState) -> optax.GradientTransformation:
        """The optimizer at the rate of the run's next step."""
        return optimizer(run.learning_rate * (1 if schedule is None else schedule(run.step)))

    def at_once(run: RunState, data: PyTree) -> tuple[RunState, Array, Array]:
        """One update by the gradient of a whole batch; gives the loss and the gradient's norm too."""
        drops = config.dropout or config.input_dropout or config.teacher_forcing
        dropout_key = jax.random.fold_in(run.stream("dropout"), run.step) if drops else None
        carry = carried(run, data[0])
        (value, carry), grads = on_batch(
            lambda batch: jax.value_and_grad(loss, has_aux=True)(run.params, carry, batch, dropout_key, run.step),
            *(task, data[0], run.stream("train"), run.step, config.batch_size, parts),
        )
        grads = mean_over_shares(grads, parts)
        updates, opt_state = rated(run).update(grads, run.opt_state, run.params)
        params = optax.apply_updates(run.params, updates)
        return run.replace(params=params, opt_state=opt_state, carry=carry), value, norm(grads)

    def step_by_step(run: RunState, data: PyTree) -> tuple[RunState, Array, Array]:
        """As `at_once`, with an update at every step of the batch."""
        carry = carried(run, data[0])
        params, opt_state, carry, value, size = on_batch(
            lambda batch: online.learn(task, model, rated(run), norm, run.params, run.opt_state, carry, batch),
            *(task, data[0], run.stream("train"), run.step, config.batch_size),
        )
        return run.replace(params=params, opt_state=opt_state, carry=carry if streams else ()), value, size

    def update(run: RunState, data: PyTree) -> RunState:
        """One batch; a run whose loss or gradient is not finite keeps what it had."""
        after, value, size = (step_by_step if config.online else at_once)(run, data)
        after = after.replace(step=run.step + 1)
        alive, finite = run.diverged_at == NEVER, jnp.isfinite(value) & jnp.isfinite(size)
        kept = jax.tree.map(lambda new, old: jnp.where(alive & finite, new, old), after, run)
        diverged_at = jnp.where(alive & ~finite, run.step + 1, run.diverged_at)
        recent = {"steps": run.recent["steps"] + 1, "loss": run.recent["loss"] + value}
        recent["grad_norm"] = jnp.asarray(size, float)  # of parameters that may all be of 32 bits, or of 64
        return kept.replace(diverged_at=diverged_at, recent=recent)

    def train(run: RunState, steps: Array, data: PyTree) -> RunState:
        def go_on(run: RunState) -> RunState:
            return jax.lax.fori_loop(0, steps, lambda _, run: update(run, data), run)

        going = run.going(config.stop_when_solved) | (run.recent["steps"] > 0)
        return jax.lax.cond(going, go_on, lambda run: run, run)

    def evaluate(run: RunState, data: PyTree) -> tuple[RunState, dict[str, Array]]:
        def measure(run: RunState) -> tuple[RunState, dict[str, Array]]:
            key = jax.random.fold_in(run.stream("eval"), run.step)
            metrics = judged = measured(eval_task, divided, run.params, data[1], config.eval_size, key)
            if select_task is not None:  # which judges alone, so that no run ends by what is measured
                judged = measured(select_task, divided, run.params, data[2], config.eval_size, key)
                found = {"loss": judged["loss"], "params": run.params}
                metrics["selection_loss"] = judged["loss"]
                less = (found["loss"] < run.chosen["loss"]) & (run.diverged_at == NEVER)
                run = run.replace(chosen=jax.tree.map(lambda new, old: jnp.where(less, new, old), found, run.chosen))
            first = (run.solved_at == NEVER) & (run.diverged_at == NEVER) & eval_task.solved(judged)
            solved_at = jnp.where(first, run.step, run.solved_at)
            recent = {"train_loss": run.recent["loss"] / run.recent["steps"], "grad_norm": run.recent["grad_norm"]}
            told = {name: jnp.asarray(value, float) for name, value in (recent | metrics).items()}
            return run.replace(solved_at=solved_at, recent=nothing_recent()), told

        def rest(run: RunState) -> tuple[RunState, dict[str, Array]]:
            return run, dict.fromkeys(names, jnp.full((), jnp.nan))

        return jax.lax.cond(run.recent["steps"] > 0, measure, rest, run)

    def look(run: RunState, data: PyTree) -> Probe:
        return probe(model, run.params, probe_batch(task, data, config.probe_size), task.loss)

    return Program(init, train, evaluate, look, data)


def probe_batch(task: Task, data: PyTree, size: int) -> Batch:
    """The batch of every probe: the same for all runs, cells and steps, apart from every run's own.

    It has `size` sequences, or as many as there are to train on where these are fewer.
    """
    size = min(size, count_of(data[0])) if task.examples else size
    return train_batch(task, data[0], jax.random.key(PROBE_SEED), jnp.zeros((), jnp.int32), size)


PROBE_SEED = 2**31 - 1

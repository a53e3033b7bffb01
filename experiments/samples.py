"""What a trained run answers, as a person reads it: words, and a picture where there is one."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np

from seqjax.data.streamed import count_of
from seqjax.models.continuing import continued
from seqjax.models.decoding import narrowed
from seqjax.report import answers as pictures
from seqjax.report.figures import Figure
from seqjax.training.evaluation import evaluate
from seqjax.training.prediction import answering, answers
from seqjax.training.preparing import Prepared
from seqjax.types import Array, Batch, Pair, PyTree, Task

TEMPERATURE = 0.8
Answered = list[tuple[Batch, Array]]


class Sample(NamedTuple):
    """A few answers in words, and their figures."""

    words: str
    figures: tuple[Figure, ...] = ()


def sample(prepared: Prepared, params: PyTree, answered: Answered | None = None) -> Sample:
    """What suits the task: text that goes on, who is taken for whom, a translation and its map, or nothing.

    answered: what `answers` gives of the test split, where it is at hand.
    """
    task = prepared.eval_task
    if task.continuation is not None and task.image is not None:
        return _filmed(prepared, params)
    if task.continuation is not None:
        return _written(prepared, params)
    if task.spell is None:
        return _forecast(prepared, params) if task.peers else Sample("")
    answered = answered or list(answers(prepared, params, task.examples.test))
    words = "\n\n".join(said(task, *one) for one in spread(answered, 3))
    if prepared.model.weights is not None and prepared.config.attention != "none":
        return Sample(words, (_looked(prepared, params, *spread(answered, 1)[0]),))
    if task.readout == "last":
        pairs = [
            (task.spell(batch, batch.targets, n)[0], task.spell(batch, given, n)[0])
            for batch, given in answered
            for n in range(batch.mask.shape[-1])
        ]
        drawn = pictures.confusion(*zip(*pairs))
        return Sample(words if task.show else "", () if drawn is None else (drawn,))
    return Sample(words)


def spread(answered: Answered, count: int) -> list[tuple[Batch, Array, int]]:
    """Sequences of all lengths, evenly spread; each once where as many are wanted as there are."""
    every = [(batch, given, n) for batch, given in answered for n in range(batch.mask.shape[-1])]
    places = np.linspace(-1, len(every), min(count, len(every)) + 2)[1:-1].round().astype(int)
    return [every[place] for place in places]


def said(task: Task, batch: Batch, given: Array, number: int) -> str:
    """A sequence as the task shows it, and below it the answer."""
    shown = task.show(batch, number) if task.show else "truth    " + " ".join(task.spell(batch, batch.targets, number))
    return f"{shown}\nanswer   {' '.join(task.spell(batch, given, number))}"


def _written(prepared: Prepared, params: PyTree) -> Sample:
    """From the task's own beginning, or from every one there is, at a temperature a little below 1."""
    way = prepared.eval_task.continuation
    prompt = np.concatenate([way.prompt(each) for each in way.prompts or (None,)], 1)
    draw = functools.partial(way.draw, narrow=lambda x: narrowed(x / TEMPERATURE, None, None))
    write = jax.jit(lambda *given: continued(prepared.model, *given, way.steps, draw))
    written = np.asarray(write(params, jax.random.key(0), prompt))
    if way.ending == ".mid":
        return Sample("", (pictures.score(written[:, 0], len(prompt)),))
    if way.prompts:
        return Sample("", (pictures.drawings(way.prompts, written[1:, :, len(way.prompts) :]),))
    return Sample(way.spell(written[:, 0]))


def _filmed(prepared: Prepared, params: PyTree) -> Sample:
    """Two clips of the test, or the one there is: each frame, and what was seen in its place from the middle on."""
    task = prepared.eval_task
    clips = min(2, count_of(task.examples.test))
    prompt = np.concatenate([task.continuation.prompt(str(number)) for number in range(clips)], 1)
    alone = jax.tree.map(lambda leaf: leaf[:clips], task.examples.test)
    truth = np.asarray(task.examples.batch(alone).targets)
    steps = len(truth) + 1 - len(prompt)
    write = jax.jit(
        lambda *given: continued(prepared.model, *given, steps, lambda *at: task.continuation.draw(*at, None))
    )
    written = np.asarray(write(params, jax.random.key(0), prompt))[1:]
    films = [film.reshape(*film.shape[:2], *task.image) for film in (truth, written)]
    return Sample(_of_peers(prepared, params), (pictures.frames(*films, len(prompt) - 1),))


def _of_peers(prepared: Prepared, params: PyTree) -> str:
    """The loss on the whole test split, and how simple predictors do."""
    task = prepared.eval_task
    if not task.peers:
        return ""
    measure = jax.jit(lambda *given: evaluate(task, prepared.model, *given, prepared.config.eval_size)["loss"])
    losses = {"this network": float(measure(params, task.examples.test)), **task.peers}
    lines = [f"{name:<20} {value:.3f}" for name, value in losses.items()]
    return "\n".join(["loss on the test split, and of simple predictors on the same rows:", *lines])


def _forecast(prepared: Prepared, params: PyTree) -> Sample:
    """One window in the middle of the test."""
    examples = prepared.eval_task.examples
    count = len(jax.tree.leaves(examples.test)[0])
    batch = examples.batch(jax.tree.map(lambda leaf: leaf[count // 2 : count // 2 + 1], examples.test))
    given = jax.jit(answering(prepared))(params, batch)
    return Sample(_of_peers(prepared, params), (forecast_drawn(batch, given, known=True),))


def forecast_drawn(batch: Batch, given: Array, known: bool) -> Figure:
    """The window that a batch of one holds, what was said, and what came where that is known."""
    read = np.asarray(batch.inputs.source if isinstance(batch.inputs, Pair) else batch.inputs)[:, 0]
    asked, given = (np.asarray(x).reshape(-1, read.shape[1]) for x in (batch.targets, given))
    return pictures.forecasts(read, asked if known else None, given)


def _looked(prepared: Prepared, params: PyTree, batch: Batch, given: Array, number: int) -> Figure:
    """Where the decoder looked while it wrote its own answer."""
    task, alone = prepared.eval_task, slice(number, number + 1)
    source, lengths = batch.inputs.source[:, alone], batch.lengths[alone]
    first = batch.inputs.said[:1, alone]
    given = np.asarray(given)[:, alone]
    read = Pair(source, np.concatenate([first, given[:-1]]))
    weights = np.asarray(jax.jit(prepared.model.weights)(params, read, lengths))[:, 0]
    written = [*task.spell(batch, given, 0), "<end>"][: len(given)]
    words = task.show(batch, number).splitlines()[0].split()[1:]
    return pictures.attention_map(words, written, weights)

"""One-to-many: from a label alone to a sequence of that kind, a movement or an image row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.data.stored import stored_task
from seqjax.data.vectors import labelled, moments, padded, standardized
from seqjax.tasks.scoring import masked_mean
from seqjax.types import Array, Batch, Continuation, Examples, Task, UserError


class Drawings(NamedTuple):
    """Sequences, each as long as the longest, and their labels."""

    vectors: Array  # [N, T, D] float32, or uint8 of shades
    labels: Array  # [N] int32
    steps: Array  # [N] int32


def drawing(
    data: str,
    series: str = "x",
    label: str = "label",
    kind: Literal["points", "shades"] = "points",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Draw, step by step, a sequence of a given label: the network reads the label and what was drawn before.

    x_t = [one-hot label; v_{t-1}] with v_0 = 0, asked for is v_t. Trained on true sequences (teacher forcing);
    `python -m experiments.generate RUN_DIR --prompt=LABEL` lets the network read what it drew itself.

    Kinds:
        'points': vectors, standardized by the mean and deviation of all steps of the rows to train on. The loss
            is the mean squared error a number, the score the mean absolute error; the mean is drawn.
            Baseline: the mean of the test's squares.
        'shades': numbers from 0 to 255, an image's rows, divided by 255. The loss is the cross-entropy of
            each as a chance, summed over a step, in nats a step; the score is the share on the right side of 1/2;
            each is drawn as dark or light by its chance.
            Baseline: of a guess that knows how dark each column is on average.

    Solved: never; there are no published numbers of this setting.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv).
        series: the column of sequences: lists over time of lists of numbers, of any lengths.
        label: the column of labels, whole numbers or texts.
        kind: points or shades.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: as `gesture`; and shades that are no whole numbers from 0 to 255.
    """
    names, labels, parts = labelled(data, series, label, tested_on, test_share)
    steps = np.concatenate(parts[0])
    (mean, deviation), dark = moments(steps), kind == "shades"
    for sequence in parts[0] + parts[1] if dark else ():
        if len(wrong := sequence[(sequence < 0) | (sequence > 255) | (sequence % 1 > 0)]):
            shades = "shades, whole numbers from 0 to 255; kind='points' takes any"
            raise UserError(f"series={series!r} holds {wrong[0]:g}; expected {shades}")
    if not dark:
        parts = [standardized(part, mean, deviation) for part in parts]

    def drawings(part: list[np.ndarray], kinds: np.ndarray) -> Drawings:
        vectors, lengths = padded(part)
        return Drawings(
            jnp.asarray(vectors.astype(np.uint8) if dark else vectors), jnp.asarray(kinds), jnp.asarray(lengths)
        )

    def batch(picked: Drawings) -> Batch:
        vectors = jnp.swapaxes(picked.vectors, 0, 1)
        vectors = vectors.astype(jnp.float32) / 255 if dark else vectors
        before = jnp.concatenate([jnp.zeros_like(vectors[:1]), vectors[:-1]])
        which = jnp.broadcast_to(jax.nn.one_hot(picked.labels, len(names)), (*before.shape[:2], len(names)))
        mask = jnp.arange(len(vectors))[:, None] < picked.steps
        return Batch(jnp.concatenate([which, before], -1), vectors, mask.astype(jnp.float32), picked.steps)

    def prompt(text: str | None) -> Array:
        name = names[0] if text is None else text.strip()
        if name not in names:
            raise UserError(f"no label {name!r}; labels: {', '.join(names)}")
        return jnp.zeros((1, 1, len(names) + steps.shape[1])).at[..., names.index(name)].set(1)

    def draw(key: Array, outputs: Array, before: Array, narrow: Callable[[Array], Array]) -> Array:
        if dark:
            dark_or_light = narrow(jnp.stack([jnp.zeros_like(outputs), outputs], -1))
            outputs = jax.random.categorical(key, dark_or_light).astype(jnp.float32)
        return jnp.concatenate([before[..., : len(names)], outputs], -1)

    def spell(inputs: Array) -> str:
        drawn = np.asarray(inputs)[1:, len(names) :]
        if dark:
            return "\n".join(shades(drawn))
        return "\n".join(" ".join(f"{x:.4g}" for x in point) for point in drawn * deviation + mean)

    examples = Examples(drawings(parts[0], labels[0]), drawings(parts[1], labels[1]), batch)
    share = np.clip(mean / 255, 1e-7, 1 - 1e-7)
    entropy = float(-np.sum(share * np.log(share) + (1 - share) * np.log(1 - share)))
    return stored_task(
        examples,
        _shade_loss if dark else _point_loss,
        _shade_score if dark else _point_score,
        coding=(tuple(names), kind, *(() if dark else (tuple(mean), tuple(deviation)))),
        input_size=len(names) + steps.shape[1],
        output_size=steps.shape[1],
        baseline=entropy if dark else float(np.mean(np.square(np.concatenate(parts[1])))),
        continuation=Continuation(
            prompt, draw, spell, steps=int(np.median([len(s) for s in parts[0]])), prompts=tuple(names)
        ),
    )


def _point_loss(outputs: Array, batch: Batch) -> Array:
    return masked_mean(jnp.mean((outputs - batch.targets) ** 2, -1), batch.mask)


def _point_score(outputs: Array, batch: Batch) -> Array:
    return masked_mean(jnp.mean(jnp.abs(outputs - batch.targets), -1), batch.mask)


def _shade_loss(outputs: Array, batch: Batch) -> Array:
    return masked_mean(jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, batch.targets), -1), batch.mask)


def _shade_score(outputs: Array, batch: Batch) -> Array:
    return masked_mean(jnp.mean((outputs > 0) == (batch.targets > 0.5), -1), batch.mask)

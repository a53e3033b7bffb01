"""Video: labelled images that move, one frame a step; what moves and which way, or what the next frame is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.images import LabelledImages, class_names, count_classes, grey, read_both, rows_of
from seqjax.data.labels import entropy, share_of_right
from seqjax.data.loading import load
from seqjax.data.stored import stored_task
from seqjax.tasks.scoring import at_least, cross_entropy, masked_mean, squared_error
from seqjax.tasks.showing import shades
from seqjax.types import Array, Batch, Continuation, Examples, Task, UserError

WAYS = {
    "up": (-1, 0),
    "up and right": (-1, 1),
    "right": (0, 1),
    "down and right": (1, 1),
    "down": (1, 0),
    "down and left": (1, -1),
    "left": (0, -1),
    "up and left": (-1, -1),
}
SHOWN = 4  # frames side by side
SOLVED = 0.95


class Clips(NamedTuple):
    """Images, and how each moves."""

    image: Array  # [N, h, w] uint8
    label: Array  # [N] int32
    way: Array  # [N] int32, a number among WAYS
    start: Array  # [N, 2] int32, the row and the column of its corner in the first frame


def video(
    data: str = "ylecun/mnist",
    asks: Literal["kind", "next"] = "kind",
    frames: int = 10,
    size: int = 28,
    shrink: int = 2,
    image_column: str = "image",
    label_column: str = "label",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Watch an image move over a frame of size x size pixels, one pixel a step.

    Each step is a frame [size·size], row by row, from 0 to 1. Every image of the data has one of eight ways and a place
    in the middle of its way, both drawn evenly by numpy.random.default_rng (0 to train on, 1 to test on), so that it
    stays within the frame: the middle frame says nothing of the way, the first and the last a little, two
    frames everything. With `--embedding=64` each frame is read through a convolution of that width.

    Asks:
        'kind': at the end, which label and which way: two choices, O = C + 8. The loss is the sum of their
            cross-entropies in nats, the score the share of clips where both are right. Baseline: the entropy of the
            labels to train on, and ln 8. Solved: 95 % of the clips right.
        'next': at every step but the last, the next frame. The loss is the squared error summed over its pixels,
            the score the mean absolute error a pixel. Baseline: the mean shade. `peers`: the frame before, again.
            Solved: never; it is looked at.

    Args:
        data: a name on the Hugging Face hub, a local folder or file, as of `pixel_images`; colours become grey,
            and what is transparent black.
        asks: what is asked for.
        frames: T, at least 2.
        size: rows and columns of a frame.
        shrink: each square of so many pixels of an image becomes one, their mean.
        image_column: name of the column of images.
        label_column: name of the column of classes.
        tested_on: the split that evaluation reads; without a 'test', 'validation' is.
        test_share: the share held out where there is no split to test on.

    Raises:
        UserError: as `pixel_images`; and fewer frames than 2, a shrink below 1, images that would leave the frame.
    """
    for name, value, least in (("frames", frames, 2), ("shrink", shrink, 1), ("size", size, 2)):
        if value < least:
            raise UserError(f"{name}={value}; expected at least {least}")
    splits = load(data, image_column=image_column, label_column=label_column)
    both = read_both(rows_of(splits, tested_on, test_share, data), image_column, label_column, data)
    labels = np.concatenate([part.labels for part in both])
    feature = splits["train"].features[label_column]
    classes = count_classes(None, feature, labels, data)
    called = class_names(feature, classes)
    height, width = (n // shrink for n in both[0].pixels.shape[1:3])
    least = max(height, width) + 2 * (frames // 2)
    if not height or not width:
        raise UserError(f"shrink={shrink}: images of {height} by {width} pixels would be left")
    if size < least:
        raise UserError(
            f"size={size}: images of {height} by {width} pixels leave it in {frames} frames; expected {least} or more"
        )
    train, test = (_clips(part, shrink, size, frames, seed) for seed, part in enumerate(both))

    def film(clips: Clips) -> Array:
        """[T, B, size·size]"""
        blank = jnp.zeros((len(clips.label), size, size))
        still = blank.at[:, :height, :width].set(clips.image / 255)
        step = jnp.asarray(list(WAYS.values()))[clips.way]
        places = clips.start + jnp.arange(frames)[:, None, None] * step
        moved = jax.vmap(jax.vmap(lambda image, place: jnp.roll(image, place, (0, 1))), (None, 0))(still, places)
        return moved.reshape(frames, len(clips.label), -1)

    def watched(clips: Clips) -> Batch:
        return Batch(film(clips), jnp.stack([clips.label, clips.way], -1), jnp.ones(len(clips.label)))

    def strip(seen: np.ndarray) -> str:
        places = np.unique(np.linspace(0, len(seen) - 1, SHOWN).round().astype(int))
        pictures = [[f"{line:<{size}}|" for line in shades(seen[place].reshape(size, size))] for place in places]
        return "\n".join(["steps " + ", ".join(map(str, places)), *("".join(lines) for lines in zip(*pictures))])

    if asks == "kind":
        names = list(WAYS)

        def spell(batch: Batch, answers: Array, number: int) -> list[str]:
            label, way = np.asarray(answers)[number]
            return [f"{called[label]} {names[way]}"]

        return stored_task(
            Examples(train, test, watched),
            lambda outputs, batch: _both_losses(outputs, batch, classes),
            lambda outputs, batch: masked_mean(jnp.all(_both(outputs, classes) == batch.targets, -1), batch.mask),
            solved=lambda metrics: at_least(metrics["score"], SOLVED),
            criterion=f"{SOLVED:.0%} of the clips right, label and way",
            coding=called,
            input_size=size * size,
            output_size=classes + len(WAYS),
            baseline=entropy(both[0].labels) + float(np.log(len(WAYS))),
            readout="last",
            image=(size, size, 1),
            answer=lambda outputs, batch: _both(outputs, classes),
            spell=spell,
            show=lambda batch, n: (
                f"{strip(np.asarray(batch.inputs)[:, n])}\ntruth    {spell(batch, batch.targets, n)[0]}"
            ),
            grade=lambda truth, said, steps: {"label and way": share_of_right(truth, said)},
        )

    def foreseen(clips: Clips) -> Batch:
        seen = film(clips)
        return Batch(seen[:-1], seen[1:], jnp.ones((frames - 1, len(clips.label))))

    def prompt(text: str | None) -> Array:
        """The first half of a clip to test on."""
        count, number = len(test.label), 0 if text is None else int(text) if text.strip().isdecimal() else -1
        if not 0 <= number < count:
            raise UserError(f"expected the number of a clip to test on, from 0 to {count - 1}")
        return film(jax.tree.map(lambda leaf: leaf[number : number + 1], test))[: (frames + 1) // 2]

    def draw(key: Array, outputs: Array, before: Array, narrow: Callable[[Array], Array]) -> Array:
        return jnp.clip(outputs, 0, 1)

    shown = np.asarray(train.image, np.float64) / 255
    mean = shown.sum((1, 2)).mean() / size**2
    return stored_task(
        Examples(train, test, foreseen),
        squared_error,
        lambda outputs, batch: masked_mean(jnp.mean(jnp.abs(outputs - batch.targets), -1), batch.mask),
        input_size=size * size,
        output_size=size * size,
        baseline=float(np.square(shown).sum((1, 2)).mean() - size**2 * mean**2),
        image=(size, size, 1),
        show=lambda batch, n: strip(np.asarray(batch.inputs)[:, n]),
        peers={"the frame before": _standing(test)},
        continuation=Continuation(prompt, draw, lambda inputs: strip(np.asarray(inputs)), steps=frames // 2),
    )


def _clips(images: LabelledImages, shrink: int, size: int, frames: int, seed: int) -> Clips:
    """The images in grey and smaller, each with a way and a corner of its own."""
    rng, count = np.random.default_rng(seed), len(images.labels)
    shade = grey(images.pixels)
    height, width = (n // shrink for n in shade.shape[1:])
    squares = shade[:, : height * shrink, : width * shrink].reshape(count, height, shrink, width, shrink)
    ways = rng.integers(len(WAYS), size=count)
    half = frames // 2
    middle = rng.integers(half, [size - height - half + 1, size - width - half + 1], size=(count, 2))
    starts = middle - np.array(list(WAYS.values()))[ways] * ((frames - 1) // 2)
    small = squares.mean((2, 4)).round().astype(np.uint8)
    return Clips(*map(jnp.asarray, (small, images.labels, ways.astype(np.int32), starts.astype(np.int32))))


def _both(outputs: Array, classes: int) -> Array:
    """The likeliest label and the likeliest way [B, 2]."""
    return jnp.stack([jnp.argmax(outputs[:, :classes], -1), jnp.argmax(outputs[:, classes:], -1)], -1)


def _both_losses(outputs: Array, batch: Batch, classes: int) -> Array:
    label, way = (batch._replace(targets=batch.targets[:, n]) for n in range(2))
    return cross_entropy(outputs[:, :classes], label) + cross_entropy(outputs[:, classes:], way)


def _standing(clips: Clips) -> float:
    """The squared error of a frame as a guess at the next one."""
    way = np.asarray(clips.way)
    frame = np.pad(np.asarray(clips.image, np.float64) / 255, ((0, 0), (1, 1), (1, 1)))  # beyond it nothing moves
    errors = [
        np.square(np.roll(frame[way == n], step, (1, 2)) - frame[way == n]) for n, step in enumerate(WAYS.values())
    ]
    return float(sum(each.sum() for each in errors) / len(frame))

"""Images as sequences: read row by row, pixel by pixel or in a fixed permutation, and name the class at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.data.images import (
    LabelledImages,
    class_names,
    count_classes,
    grey,
    read_both,
    read_images,
    read_labels,
    read_pixels,
    rows_of,
)
from seqjax.data.labels import entropy, share_of_right
from seqjax.data.loading import load, load_alone
from seqjax.data.stored import stored_task
from seqjax.data.streamed import Streamed, is_streamed
from seqjax.tasks.scoring import accuracy, at_least, cross_entropy
from seqjax.tasks.showing import shades
from seqjax.types import Array, Batch, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

SOLVED = {"row": 0.98, "pixel": 0.98, "permuted": 0.9}


def pixel_images(
    order: Literal["row", "pixel", "permuted"] = "row",
    data: str = "ylecun/mnist",
    permutation_seed: int = 0,
    image_column: str = "image",
    label_column: str = "label",
    classes: int | None = None,
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
    stream: bool | None = None,
) -> Task:
    """Classify images of height h, width w and c channels, read as sequences; on MNIST, sequential MNIST.

    Orders:
        'row': T = h, D = w·c; step t is row t, its pixels from left to right.
        'pixel': T = h·w, D = c; row by row, from left to right. (Le, Jaitly & Hinton 2015)
        'permuted': as 'pixel', but step t is pixel p[t] of that order, with the same
            p = numpy.random.default_rng(permutation_seed).permutation(T) for every image.

    Inputs are the stored 0-255 divided by 255. Columns: images of 8 bits a channel, or nested lists
    [h, w] or [h, w, c] of whole numbers from 0 to 255; labels, whole numbers from 0. Answers are told by the
    names that the column of labels declares, as folders do: my_images/train/cat/1.png.

    Baseline: the entropy of the training labels, in nats.
    Solved: 98 % of the images right, 90 % where permuted. No paper states a criterion; this one is
    near what LSTMs are reported to reach on MNIST. The score is that share.

    Args:
        order: how an image becomes a sequence.
        data: a name on the Hugging Face hub; a local folder, whose files' names give the splits
            (train.parquet, test.parquet), or of image files in folders named after the splits, if there are any,
            and the classes; or a local file.
        permutation_seed: which permutation.
        image_column: name of the column of images.
        label_column: name of the column of classes.
        classes: C; None for the number that the column declares, else one more than the largest label.
        tested_on: the split that evaluation reads; without a 'test', 'validation' is.
        test_share: the share held out where there is no split to test on: rows by `held_out`.
        stream: whether the images stay on disk and are read as they are needed, where they do not fit into
            memory; None for whichever suits the size of a split. The numbers are the same.

    Raises:
        UserError: data that cannot be loaded or has no such column, images of differing sizes or
            not of 8 bits, labels outside 0 ... C - 1, a negative seed, or a share outside (0, 1).
    """
    if permutation_seed < 0:
        raise UserError(f"permutation_seed={permutation_seed}; expected at least 0")
    splits = load(data, image_column=image_column, label_column=label_column)
    rows = rows_of(splits, tested_on, test_share, data)
    on_disk = any(is_streamed(each, stream) for each, _ in rows)
    looked_at = [(each.select(numbers[:1]), np.arange(1)) for each, numbers in rows] if on_disk else rows
    train, test = read_both(looked_at, image_column, label_column, data)
    labels = [train.labels, test.labels]
    if on_disk:
        labels = [read_labels(each, label_column, data)[numbers] for each, numbers in rows]
    feature = splits["train"].features[label_column]
    classes = count_classes(classes, feature, np.concatenate(labels), data)
    names = class_names(feature, classes)
    height, width, channels = train.pixels.shape[1:]
    if on_disk:
        size, read = (height, width, channels), [_reader(*each, image_column, label_column, data) for each in rows]
        train, test = (
            Streamed(
                len(numbers), lambda n, each=each: _sequences(_of_size(each(n), size, data), order, permutation_seed)
            )
            for each, (_, numbers) in zip(read, rows)
        )
    else:
        both = (_sequences(images, order, permutation_seed) for images in (train, test))
        train, test = jax.tree.map(jnp.asarray, tuple(both))

    def batch(examples: LabelledImages) -> Batch:
        inputs = jnp.swapaxes(examples.pixels, 0, 1).astype(jnp.float32) / 255
        return Batch(inputs, examples.labels, jnp.ones(examples.labels.shape, jnp.float32))

    def read_file(path: str) -> tuple[Batch, None]:
        pixels = read_pixels(load_alone(path, image_column=image_column), image_column, path)
        nothing = LabelledImages(pixels, np.zeros(len(pixels), np.int32))
        nothing = _of_size(nothing, (height, width, channels), path)
        return batch(_sequences(nothing, order, permutation_seed)), None

    def solved(metrics: dict[str, Array]) -> Array:
        return at_least(metrics["score"], SOLVED[order])

    return stored_task(
        Examples(train, test, batch),
        cross_entropy,
        accuracy,
        solved=solved,
        input_size=width * channels if order == "row" else channels,
        output_size=classes,
        baseline=entropy(labels[0]),
        readout="last",
        criterion=f"{SOLVED[order]:.0%} of the images right",
        coding=names,
        spell=lambda batch, answers, number: [names[int(np.asarray(answers)[number])]],
        read=read_file,
        grade=lambda truth, said, steps: {"accuracy": share_of_right(truth, said)},
        show=lambda batch, number: _show(batch, number, order, permutation_seed, height, width, names),
    )


def _show(batch: Batch, number: int, order: str, seed: int, height: int, width: int, names: tuple[str, ...]) -> str:
    """The image in shades, its pixels in their places again, and its class."""
    pixels = np.asarray(batch.inputs)[:, number]
    if order == "permuted":
        pixels = pixels[np.argsort(np.random.default_rng(seed).permutation(height * width))]
    said = names[int(batch.targets[number])]
    return "\n".join([*shades(grey(pixels.reshape(height, width, -1))), f"target at the end: {said}"])


def _sequences(images: LabelledImages, order: str, seed: int) -> LabelledImages:
    """Images [N, h, w, c] in the order in which they are read [N, T, D]."""
    count, height, width, channels = images.pixels.shape
    if order == "row":
        return images._replace(pixels=images.pixels.reshape(count, height, width * channels))
    pixels = images.pixels.reshape(count, height * width, channels)
    if order == "permuted":
        pixels = pixels[:, np.random.default_rng(seed).permutation(height * width)]
    return images._replace(pixels=pixels)


def _reader(
    rows: Dataset, chosen: np.ndarray, image_column: str, label_column: str, data: str
) -> Callable[[np.ndarray], LabelledImages]:
    """What reads the examples of given numbers, each a place among the chosen rows."""
    return lambda numbers: read_images(rows.select(chosen[numbers]), image_column, label_column, data)


def _of_size(images: LabelledImages, size: tuple[int, int, int], data: str) -> LabelledImages:
    if images.pixels.shape[1:] != size:
        shape = list(images.pixels.shape[1:])
        raise UserError(f"data={data!r}: images [h, w, c] of {list(size)} and of {shape}; expected one size")
    return images

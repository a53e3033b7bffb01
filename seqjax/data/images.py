"""Columns of labelled images: read whole, looked through, and all of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from seqjax.data.loading import array, held_out, test_split
from seqjax.types import Array, UserError

if TYPE_CHECKING:
    from datasets import Dataset

MOST_CLASSES = 100_000
MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB"}  # one bit a pixel; a palette; inks, of which none is white


class LabelledImages(NamedTuple):
    """Images as they are read, and their classes."""

    pixels: Array  # [N, h, w, c] or, as sequences, [N, T, D], uint8
    labels: Array  # [N] int32


def rows_of(splits: dict[str, Dataset], tested_on: str, share: float, data: str) -> list[tuple[Dataset, np.ndarray]]:
    """Rows to train and to test on, each with the numbers that are meant.

    Tested on is the split `tested_on`; where there is no 'test', 'validation'; of one split, a share of it that is then
    not trained on. Raises UserError where there is no such split among several.
    """
    train = splits["train"]
    name = "validation" if tested_on not in splits and "validation" in splits else tested_on
    if len(splits) > 1:
        return [(each, np.arange(len(each))) for each in (train, test_split(splits, name, data))]
    return [(train, numbers) for numbers in held_out(len(train), share, data)]


def read_both(
    rows: list[tuple[Dataset, np.ndarray]], image_column: str, label_column: str, data: str
) -> tuple[LabelledImages, LabelledImages]:
    """The images of `rows_of`, all of one size [h, w, c]; rows that are held out of one split are read once."""
    read: dict[int, LabelledImages] = {}
    for each, _ in rows:
        if id(each) not in read:
            read[id(each)] = read_images(each, image_column, label_column, data)
    train, test = (LabelledImages(*(column[numbers] for column in read[id(each)])) for each, numbers in rows)
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise UserError(
            f"data={data!r}: images [h, w, c] of {list(train.pixels.shape[1:])} to train and of "
            f"{list(test.pixels.shape[1:])} to test on; expected one size"
        )
    return train, test


def read_images(rows: Dataset, image_column: str, label_column: str, data: str) -> LabelledImages:
    """A split as pixels [N, h, w, c] uint8 and labels [N] int32."""
    return LabelledImages(read_pixels(rows, image_column, data), read_labels(rows, label_column, data))


def read_pixels(rows: Dataset, image_column: str, data: str) -> np.ndarray:
    """The images of a split [N, h, w, c] uint8."""
    import datasets

    at = f"data={data!r}: column {image_column!r} of split {str(rows.split)!r}"
    stored = isinstance(rows.features[image_column], datasets.Image)
    images = _decoded(rows, image_column, at) if stored else array(rows, image_column, data)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(f"{at} holds values of shape {list(images.shape[1:])}; expected images [h, w] or [h, w, c]")
    pixels = _whole(images, np.uint8, at, "whole numbers from 0 to 255")
    return pixels[..., None] if pixels.ndim == 3 else pixels


def read_labels(rows: Dataset, column: str, data: str) -> np.ndarray:
    """The classes of a split [N] int32."""
    at = f"data={data!r}: column {column!r} of split {str(rows.split)!r}"
    labels = array(rows, column, data)
    if labels.ndim != 1:
        raise UserError(f"{at} holds lists; expected one whole number a row")
    return _whole(labels, np.int32, at, "whole numbers from 0 to C - 1")


def _decoded(rows: Dataset, column: str, at: str) -> np.ndarray:
    """Stored image files as one array [N, h, w] or [N, h, w, c]."""
    images = []
    try:
        for image in rows[column]:
            mode = MODES.get(image.mode, image.mode)
            images.append(np.asarray(image if mode == image.mode else image.convert(mode)))
    except Exception as error:  # whatever a decoder says of bytes that are no image, or of none
        raise UserError(f"{at}: image {len(images)} cannot be decoded; expected whole image files") from error
    if len(shapes := sorted({image.shape for image in images})) > 1:
        raise UserError(f"{at} has images of shapes {str(shapes[:5])[1:-1]}; expected one shape")
    return np.stack(images)


def _whole(values: np.ndarray, dtype: type, at: str, expected: str) -> np.ndarray:
    """The values in a narrower dtype; UserError with the first that it cannot hold."""
    with np.errstate(invalid="ignore"):
        narrow = values.astype(dtype)
    if len(wrong := values[narrow != values]):
        raise UserError(f"{at} holds {wrong[0]}; expected {expected}")
    return narrow


def grey(pixels: np.ndarray) -> np.ndarray:
    """The mean of the colours [..., c] -> [...]; of two or four channels the last is how opaque the others are.

    What shows through is black, as the frame around it.
    """
    if pixels.shape[-1] not in (2, 4):
        return pixels.mean(-1)
    whole = 255 if np.issubdtype(pixels.dtype, np.integer) else 1
    return pixels[..., :-1].mean(-1) * (pixels[..., -1] / whole)


def class_names(feature: object, classes: int) -> tuple[str, ...]:
    """What the column of labels calls each class, as folders do; the number where it has no name for it."""
    named = tuple(getattr(feature, "names", None) or ())[:classes]
    return (*named, *map(str, range(len(named), classes)))


def count_classes(stated: int | None, feature: object, labels: np.ndarray, data: str) -> int:
    """C, once every label is found to lie in 0 ... C - 1."""
    lowest, highest = int(labels.min()), int(labels.max())
    classes = stated
    if stated is None:
        classes = getattr(feature, "num_classes", None) or min(max(highest + 1, 2), MOST_CLASSES)
    if not 2 <= classes <= MOST_CLASSES:
        raise UserError(f"classes={classes}; expected 2 to {MOST_CLASSES}")
    if lowest < 0 or highest >= classes:
        wrong = lowest if lowest < 0 else highest
        raise UserError(f"data={data!r}: a label of {wrong}; expected 0 to {classes - 1}, as classes={classes}")
    return classes

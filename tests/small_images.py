"""A few images with labels, in files of each kind that is read; the line that a bad file gets."""

import functools
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import small_data

from seqjax.data.pixel_images import pixel_images

RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.integers(0, 256, (12, 3, 4), np.uint8)
LABELS = np.arange(12) % 3


def write(path, images=IMAGES, labels=LABELS, names=("image", "label"), images_type=None):
    """One file of nested lists, in the kind that its ending says."""
    path.parent.mkdir(exist_ok=True)
    images = images.tolist() if isinstance(images, np.ndarray) else images
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if path.suffix == ".parquet":
        images = pa.array(images, images_type or pa.list_(pa.list_(pa.uint8())))
        pq.write_table(pa.table({names[0]: images, names[1]: labels}), path, row_group_size=5)
    elif path.suffix == ".csv":
        lines = [f'"{image}",{label}' for image, label in zip(images, labels)]
        path.write_text("\n".join([",".join(names), *lines]))
    else:
        path.write_text("\n".join(json.dumps({names[0]: i, names[1]: j}) for i, j in zip(images, labels)))
    return str(path)


def folder(tmp_path, ending="parquet", train=(IMAGES[:8], LABELS[:8]), test=(IMAGES[8:], LABELS[8:])):
    write(tmp_path / "d" / f"train.{ending}", *train)
    write(tmp_path / "d" / f"test.{ending}", *test)
    return str(tmp_path / "d")


def image_files(path, images, mode=None, classes=("a", "b", "c"), kept="PNG"):
    """A file as the hub's MNIST is: PNG bytes, or others, in an Image column, and a ClassLabel."""
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))})
    images = [Image.fromarray(image).convert(mode) if mode else Image.fromarray(image) for image in images]
    content = [io.BytesIO() for _ in images]
    for image, place in zip(images, content):
        image.save(place, kept)
    images = [{"bytes": place.getvalue(), "path": None} for place in content]
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * (len(images) // 2)}, features)
    pq.write_table(rows.with_format("arrow")[:], path)
    return str(path)


complaint = functools.partial(small_data.complaint, pixel_images)

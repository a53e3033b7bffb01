"""Images as sequences: how they are read from data, and what bad images and labels are told."""

import inspect
import math
import os
from pathlib import Path

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel
from small_images import IMAGES, LABELS, RANDOM, complaint, folder, image_files, write

from seqjax import data as data_room
from seqjax import tasks as tasks_room
from seqjax.data.images import class_names
from seqjax.data.loading import held_out
from seqjax.data.pixel_images import pixel_images
from seqjax.spec import build, names
from seqjax.types import Task, UserError

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def whole(task, split="train"):
    return task.examples.batch(getattr(task.examples, split))


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "json", "csv"])
def test_a_folder_gives_both_splits(tmp_path, ending):
    task = pixel_images(data=folder(tmp_path, ending))
    assert task.examples.train.pixels.dtype == np.uint8
    for split, rows in (("train", slice(0, 8)), ("test", slice(8, 12))):
        batch = whole(task, split)
        np.testing.assert_allclose(batch.inputs, IMAGES[rows].swapaxes(0, 1) / 255, rtol=2e-7)  # float32 rounding
        np.testing.assert_array_equal(batch.targets, LABELS[rows])
        assert batch.inputs.dtype == np.float32 and batch.lengths is None
        np.testing.assert_array_equal(batch.mask, np.ones(len(LABELS[rows])))


def test_rows_pixels_and_permuted_pixels_by_hand(tmp_path):
    where = folder(tmp_path)
    expected = {"row": np.zeros((3, 8, 4)), "pixel": np.zeros((12, 8, 1)), "permuted": np.zeros((12, 8, 1))}
    p = np.random.default_rng(5).permutation(12)
    for n in range(8):
        for i in range(3):
            for j in range(4):
                expected["row"][i, n, j] = IMAGES[n, i, j]
                expected["pixel"][4 * i + j, n, 0] = IMAGES[n, i, j]
                expected["permuted"][list(p).index(4 * i + j), n, 0] = IMAGES[n, i, j]
    for order, inputs in expected.items():
        task = pixel_images(order=order, data=where, permutation_seed=5)
        np.testing.assert_allclose(whole(task).inputs, inputs / 255, rtol=1e-6)
        assert (task.input_size, task.output_size, task.readout) == (inputs.shape[-1], 3, "last")


def test_the_permutation_is_the_one_stated(tmp_path):
    """The first numbers of the stated generator, written out, so that a change of it is seen."""
    images = np.broadcast_to(np.arange(12, dtype=np.uint8).reshape(3, 4), (4, 3, 4))
    task = pixel_images("permuted", write(tmp_path / "a.parquet", images, [0, 1, 0, 1]))
    read = np.asarray(task.examples.train.pixels)[..., 0]
    assert read[0].tolist() == [9, 2, 7, 4, 5, 11, 0, 3, 6, 10, 8, 1]
    assert (read == read[0]).all()
    other = pixel_images("permuted", str(tmp_path / "a.parquet"), permutation_seed=1)
    assert np.asarray(other.examples.train.pixels)[0, :, 0].tolist() != read[0].tolist()


def test_colour_is_the_width_of_a_step(tmp_path):
    images = RANDOM.integers(0, 256, (4, 2, 3, 3), np.uint8)
    kind = pa.list_(pa.list_(pa.list_(pa.uint8(), 3), 3), 2)  # fixed sizes, as in MNIST's file
    where = write(tmp_path / "a.parquet", images, [0, 1, 0, 1], images_type=kind)
    train, _ = held_out(4, 0.1, where)
    row, pixel = pixel_images("row", where), pixel_images("pixel", where)
    assert (row.input_size, pixel.input_size) == (9, 3)
    np.testing.assert_array_equal(row.examples.train.pixels, images[train].reshape(3, 2, 9))
    np.testing.assert_array_equal(pixel.examples.train.pixels, images[train].reshape(3, 6, 3))


def test_samples_are_training_examples_and_their_labels(tmp_path):
    task = pixel_images("pixel", folder(tmp_path))
    batch = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 64)
    assert batch.inputs.shape == (12, 64, 1)
    found = np.rint(np.asarray(batch.inputs[..., 0]).T * 255).astype(int).tolist()
    known = IMAGES[:8].reshape(8, 12).tolist()
    picked = [known.index(image) for image in found]
    assert set(picked) == set(range(8))
    np.testing.assert_array_equal(batch.targets, LABELS[picked])
    again = task.sample(jax.random.key(0), 64)
    np.testing.assert_array_equal(again.inputs, batch.inputs)
    assert (task.sample(jax.random.key(1), 64).targets != again.targets).any()


def test_a_file_holds_out_a_stated_share(tmp_path):
    where = write(tmp_path / "all.parquet")
    task, again = pixel_images(data=where, test_share=0.25), pixel_images(data=where, test_share=0.25)
    assert (len(task.examples.train.labels), len(task.examples.test.labels)) == (9, 3)
    both = np.concatenate([task.examples.train.pixels, task.examples.test.pixels]).reshape(12, -1)
    assert sorted(both.tolist()) == sorted(IMAGES.reshape(12, -1).tolist())
    tests = np.sort(np.random.default_rng(0).permutation(12)[:3])
    np.testing.assert_array_equal(task.examples.test.pixels, IMAGES[tests])
    np.testing.assert_array_equal(task.examples.test.pixels, again.examples.test.pixels)


def test_a_validation_split_is_tested_on_where_there_is_no_test_split(tmp_path):
    write(tmp_path / "d" / "train.jsonl", IMAGES[:8], LABELS[:8])
    write(tmp_path / "d" / "validation.jsonl", IMAGES[8:], LABELS[8:])
    np.testing.assert_array_equal(pixel_images(data=str(tmp_path / "d")).examples.test.pixels, IMAGES[8:])


def test_baseline_is_the_entropy_of_the_training_labels(tmp_path):
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    task = pixel_images(data=folder(tmp_path, train=(IMAGES[:8], labels)))
    assert task.baseline == pytest.approx(1.5 * math.log(2))
    batch = whole(task)
    guess = np.log(np.broadcast_to([0.5, 0.25, 0.25], (8, 3)))
    assert float(task.loss(guess, batch)) == pytest.approx(task.baseline, rel=1e-6)
    right = np.eye(3)[labels]
    assert float(task.score(right, batch)) == 1.0
    assert task.solved({"score": 0.985}) and not task.solved({"score": 0.975})


@pytest.mark.parametrize("mode", [None, "RGB", "P", "1", "CMYK"])
def test_image_files_are_decoded(tmp_path, mode):
    images = np.where(IMAGES > 127, 255, 0).astype(np.uint8) if mode == "1" else IMAGES
    where = image_files(tmp_path / "a.parquet", images, mode, kept="TIFF" if mode == "CMYK" else "PNG")
    rows, _ = held_out(12, 0.1, where)
    task = pixel_images(data=where)
    channels = 3 if mode in ("RGB", "P", "CMYK") else 1
    expected = np.repeat(images[rows][..., None], channels, -1).reshape(len(rows), 3, 4 * channels)
    np.testing.assert_array_equal(task.examples.train.pixels, expected)
    assert task.output_size == 3  # of the ClassLabel, though only two classes occur
    batch, names = whole(task), ["ab"[n % 2] for n in rows]
    assert [task.spell(batch, batch.targets, n) for n in range(len(rows))] == [[name] for name in names]
    assert task.show(batch, 0).endswith(f"target at the end: {names[0]}")
    assert class_names(None, 2) == ("0", "1") and class_names(ClassLabel(names=["10"]), 2) == ("10", "1")


def test_a_spec_builds_it_and_paths_may_be_relative(tmp_path, monkeypatch):
    folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "pixel_images" in names([data_room])
    for text in ("d", "./d", "~/d", "d/train.parquet"):
        task = build(f"pixel_images(order='pixel', data={text!r})", [tasks_room, data_room], Task)
        assert task.input_size == 1
    with pytest.raises(UserError, match="'diagonal'; expected 'row' or 'pixel' or 'permuted'"):
        build(f"pixel_images(order='diagonal', data='{tmp_path / 'd'}')", [tasks_room, data_room], Task)
    assert inspect.signature(pixel_images).parameters["data"].default == "ylecun/mnist"


ROW = [[1, 2], [3, 4]]
FLOATS = pa.list_(pa.list_(pa.float64()))
BAD_IMAGES = {
    "heights": ([ROW, [*ROW, [5, 6]]], None, "differing sizes on axis 1: 2, 3"),
    "widths": ([ROW, [[1, 2], [3, 4, 5]]], None, "differing sizes on axis 2: 2, 3"),
    "missing": ([ROW, None], None, "differing sizes on axis 1: 2, missing"),
    "missing pixel": ([ROW, [[1, None], [3, 4]]], None, "1 missing value"),
    "flat": ([[1, 2], [3, 4]], pa.list_(pa.uint8()), "shape [2]; expected images [h, w] or [h, w, c]"),
    "no pixels": ([[], []], None, "shape [0]"),
    "too large": ([ROW, [[1, 2], [3, 256]]], pa.list_(pa.list_(pa.int64())), "holds 256; expected whole numbers"),
    "negative": ([ROW, [[1, 2], [3, -4]]], pa.list_(pa.list_(pa.int64())), "holds -4; expected whole numbers"),
    "fraction": ([ROW, [[0.5, 2], [3, 4]]], FLOATS, "holds 0.5; expected whole numbers from 0 to 255"),
    "not a number": ([ROW, [[math.nan, 2], [3, 4]]], FLOATS, "holds nan; expected whole numbers from 0 to 255"),
    "text": (["one", "two"], pa.string(), "holds text; expected numbers"),
    "truth": ([[[True]], [[False]]], pa.list_(pa.list_(pa.bool_())), "holds bool; expected numbers"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images(tmp_path, case):
    images, kind, expected = BAD_IMAGES[case]
    where = write(tmp_path / "a.parquet", images, [0, 1], images_type=kind)
    text = complaint(data=where)
    assert expected in text and f"data={where!r}: column 'image' of split 'train'" in text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, -1], "a label of -1; expected 0 to 1"),
        ([0, 10**6], "a label of 1000000; expected 0 to 99999"),
        ([0, 2**40], "holds 1099511627776; expected whole numbers"),
        ([0, 0.5], "holds 0.5; expected whole numbers"),
        (["cat", "dog"], "column 'label' of split 'train' holds text"),
        ([[0], [1]], "holds lists; expected one whole number a row"),
        ([0, None], "1 missing value"),
    ],
)
def test_bad_labels(tmp_path, labels, expected):
    where = write(tmp_path / "a.parquet", IMAGES[:2], labels)
    assert expected in (text := complaint(data=where)) and repr(where) in text


def test_labels_are_held_against_the_classes_stated(tmp_path):
    where = folder(tmp_path, test=(IMAGES[8:], LABELS[8:] + 1))
    assert pixel_images(data=where).output_size == 4
    assert pixel_images(data=where, classes=10).output_size == 10
    assert "a label of 3; expected 0 to 2, as classes=3" in complaint(data=where, classes=3)
    for classes in (0, 10**10):
        assert f"classes={classes}; expected 2 to 100000" in complaint(data=where, classes=classes)


def test_splits_of_differing_sizes(tmp_path):
    where = folder(tmp_path, test=(IMAGES[8:, :2], LABELS[8:]))
    assert "[3, 4, 1] to train and of [2, 4, 1] to test" in (text := complaint(data=where)) and repr(where) in text


def test_image_files_of_differing_sizes_or_cut_off(tmp_path):
    where = image_files(tmp_path / "a.parquet", [IMAGES[0], IMAGES[1, :2]])
    assert "shapes (2, 4), (3, 4); expected one shape" in (text := complaint(data=where)) and repr(where) in text
    where = image_files(tmp_path / "b.parquet", IMAGES[:4])
    table = pq.read_table(where)
    stored = [row | {"bytes": row["bytes"][:30]} for row in table["image"].to_pylist()]
    pq.write_table(table.set_column(0, table.schema.field("image"), pa.array(stored, table["image"].type)), where)
    assert "image 0 cannot be decoded" in (text := complaint(data=where)) and repr(where) in text


def test_bad_arguments(tmp_path):
    where = write(tmp_path / "a.parquet")
    assert "permutation_seed=-1; expected at least 0" in complaint(data=where, permutation_seed=-1)
    for share in (0, 1, -0.5, 1.5, math.nan):
        assert f"test_share={share}; expected more than 0 and less than 1" in complaint(data=where, test_share=share)
    assert "test_share=0.99 of 12 rows leaves none" in complaint(data=where, test_share=0.99)
    one = write(tmp_path / "one.parquet", IMAGES[:1], [0])
    assert "test_share=0.1 of 1 row" in complaint(data=one)
    none = write(tmp_path / "none.csv", IMAGES[:0], np.zeros(0, int))
    assert f"data={none!r}" in (text := complaint(data=none)) and "empty" in text


@pytest.mark.skipif(not MNIST.is_dir(), reason="the folder shared/data/mnist beside the repository is missing")
def test_mnist(tmp_path):
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    task = pixel_images("pixel", os.path.relpath(MNIST))
    train, test = task.examples.train, task.examples.test
    assert train.pixels.shape == (60_000, 784, 1) and test.pixels.shape == (10_000, 784, 1)
    assert np.bincount(train.labels).tolist() == counts
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    share = np.array(counts) / 60_000
    assert task.baseline == pytest.approx(-(share * np.log(share)).sum(), rel=1e-12)
    first = pq.read_table(MNIST / "test.parquet").slice(0, 1)["image"].to_pylist()[0]
    np.testing.assert_array_equal(np.asarray(test.pixels)[0].reshape(28, 28), first)
    permuted = pixel_images("permuted", str(MNIST)).examples.test
    p = np.random.default_rng(0).permutation(784)
    np.testing.assert_array_equal(permuted.pixels, np.asarray(test.pixels)[:, p])

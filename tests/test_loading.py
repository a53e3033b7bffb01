"""What `data` may name, and what is told of files that cannot be read."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from small_images import IMAGES, complaint, folder, write

from seqjax.data.pixel_images import pixel_images


def test_an_edited_file_is_read_again(tmp_path):
    where = write(tmp_path / "a.parquet")
    before = pixel_images(data=where).examples.train.pixels
    write(tmp_path / "a.parquet", 255 - IMAGES)
    after = pixel_images(data=where).examples.train.pixels
    np.testing.assert_array_equal(after, 255 - np.asarray(before))


def test_loading_leaves_the_terminal_to_its_caller(tmp_path, capfd):
    bars = datasets.are_progress_bars_disabled()
    pixel_images(data=folder(tmp_path))
    (tmp_path / "d" / "train.parquet").write_bytes(b"")
    complaint(data=str(tmp_path / "d"))
    assert capfd.readouterr() == ("", "")
    assert datasets.are_progress_bars_disabled() == bars


@pytest.mark.parametrize(
    "data", ["", "/no/such", "./no", "~/no", "../no/such/file", "a/b/c", "no.parquet", "a b", "\0"]
)
def test_what_is_not_there_is_said_to_be_missing(data):
    text = complaint(data=data)
    assert f"data={data!r}: no such file or folder" in text and "train.parquet" in text


def test_an_unreachable_hub_is_said_to_be_so():
    text = complaint(data="somebody/images")
    assert "data='somebody/images' cannot be loaded" in text and "reach" in text and "local folder" in text


def test_an_empty_folder(tmp_path):
    assert repr(str(tmp_path)) in (text := complaint(data=str(tmp_path))) and "data files" in text


def test_a_folder_without_a_training_split(tmp_path):
    write(tmp_path / "d" / "test.parquet")
    assert "has no training split; expected 'train' among its splits: test" in complaint(data=str(tmp_path / "d"))


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x")
    text = complaint(data=str(tmp_path / "a.tar"))
    assert repr(str(tmp_path / "a.tar")) in text and ".parquet, .json" in text


def test_a_path_that_reads_as_a_pattern_is_refused(tmp_path):
    """It would be matched against the names beside it: a[1].jsonl finds a1.jsonl."""
    write(tmp_path / "a1.jsonl")
    where = write(tmp_path / "a[1].jsonl", 255 - IMAGES)
    assert f"data={where!r}: a path with a '*', '?' or '['; expected one without" in complaint(data=where)


@pytest.mark.parametrize("damage", ["cut", "corrupt", "empty", "json"])
def test_damaged_files(tmp_path, damage):
    where = write(tmp_path / ("a.jsonl" if damage == "json" else "a.parquet"))
    path = Path(where)
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "corrupt": whole[:4] + b"\xff" * 200 + whole[204:],
        "empty": b"",
        "json": whole[:-9],
    }[damage]
    path.write_bytes(broken)
    assert f"data={where!r} cannot be loaded (is it empty, damaged, of unlike columns?): " in complaint(data=where)


def test_a_missing_column_names_those_that_are_there(tmp_path):
    where = write(tmp_path / "a.parquet", names=("img", "fine_label"))
    text = complaint(data=where)
    assert "image_column='image'" in text and repr(where) in text and "columns: img, fine_label" in text
    text = complaint(data=where, image_column="img")
    assert "label_column='label'" in text and "did you mean 'fine_label'" in text
    assert pixel_images(data=where, image_column="img", label_column="fine_label").output_size == 3

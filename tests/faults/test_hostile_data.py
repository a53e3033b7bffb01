"""Hostile data: whatever a file of a data set holds, a task comes of it or one line; nothing in it is ever run."""

import pickle
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import datasets
import numpy as np
import pytest
import small
from hypothesis import given
from hypothesis import strategies as st
from small_data import ROWS, both_written, task_of, written
from small_images import image_files

from seqjax import data, spec
from seqjax.types import Task, UserError

# What `datasets` leaves open where a file cannot be read.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ENDINGS = ["parquet", "jsonl", "json", "csv", "arrow"]
HARM = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
        st.tuples(st.just("put"), st.floats(0, 1), st.binary(min_size=1, max_size=12)),
    ),
    min_size=1,
    max_size=4,
)


class Trap:
    """A pickle that leaves a mark where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def harmed(content, harm):
    content = bytearray(content)
    for kind, where, what in harm:
        place = int(where * len(content))
        if kind == "cut":
            del content[place:]
        elif kind == "put":
            content[place : place + len(what)] = what
        elif content:
            content[place] ^= 1 << what
    return bytes(content)


def taken_or_refused(name, folder):
    """1 where the data is refused in one line, 0 where a task comes of it; anything else is an error."""
    try:
        with mock.patch.object(datasets.config, "HF_DATASETS_CACHE", Path(folder) / ".cache"):
            assert isinstance(task_of(name, folder), Task)
        return 0
    except UserError as error:
        assert "\n" not in str(error)
        return 1


def test_every_task_on_real_data_is_tried(tmp_path):
    """And its rows, as they are here, make a task."""
    assert sorted(ROWS) == spec.names([data])
    for name in ROWS:
        assert taken_or_refused(name, both_written(name, tmp_path / name)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files(name, ending, record_property):
    tried = []

    @small.tries(5, 20)
    @given(HARM)
    def once(harm):
        with tempfile.TemporaryDirectory() as folder:
            content = written(Path(folder, f"train.{ending}"), ROWS[name])
            Path(folder, f"test.{ending}").write_bytes(content)
            Path(folder, f"train.{ending}").write_bytes(harmed(content, harm))
            tried.append(taken_or_refused(name, folder))

    once()
    record_property("data files tried", len(tried))
    record_property("data files refused", sum(tried))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.integers(0, 255),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@st.composite
def disturbed(draw, value):
    """The value with anything in the place of one of its parts, or of itself."""
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(disturbed(value[place])), *value[place + 1 :]]
    return draw(VALUES)


@pytest.mark.parametrize("name", ROWS)
def test_columns_of_anything(name, record_property):
    """Any JSON values in the place of a column, or of something within it."""
    tried = []

    @small.tries(2, 60)
    @given(st.data(), st.sampled_from(sorted(ROWS[name])), st.sampled_from(["jsonl", "csv"]))
    def once(drawn, column, ending):
        values = ROWS[name][column]
        anything = st.lists(VALUES, min_size=len(values), max_size=len(values))
        values = drawn.draw(disturbed(values).filter(lambda found: isinstance(found, list)) | anything)
        with tempfile.TemporaryDirectory() as folder:
            for split in ("train", "test"):
                written(Path(folder, f"{split}.{ending}"), ROWS[name] | {column: values})
            tried.append(taken_or_refused(name, folder))

    once()
    record_property("data files tried", len(tried))
    record_property("data files refused", sum(tried))


FORMS = ["parquet", "jsonl", "json", "csv", "txt", "npz", "pt", "zip"]


@pytest.mark.parametrize(
    "ending", ["arrow", "npy", "pkl", "tar", "py", *(pytest.param(form, marks=pytest.mark.slow) for form in FORMS)]
)
def test_no_pickle_and_no_script_is_run(ending, tmp_path):
    """A pickle under every ending, as it is, within NumPy's forms and within an archive; a script beside the data."""
    mark, trap = tmp_path / "mark", Trap(tmp_path / "mark")
    pickle.loads(pickle.dumps(trap))
    assert mark.exists(), "the trap works"
    mark.unlink()
    folder = tmp_path / "d"
    folder.mkdir()
    path = folder / f"train.{ending}"
    if ending == "py":
        path = folder / "d.py"
        path.write_text(f"import pathlib; pathlib.Path({str(mark)!r}).touch()")
        written(folder / "train.jsonl", ROWS["penn_treebank"])
        written(folder / "test.jsonl", ROWS["penn_treebank"])
    elif ending in ("npy", "npz"):
        np.save(folder / "train.npy", np.array([trap], object), allow_pickle=True)
        if ending == "npz":
            np.savez(path, image=np.array([trap], object))
            (folder / "train.npy").unlink()
    elif ending in ("tar", "zip"):
        (tmp_path / "in").mkdir()
        for inside in ("0.image.pyd", "0.pickle", "0.npy", "0.pth", "0.label.cls"):
            (tmp_path / "in" / inside).write_bytes(pickle.dumps(trap))
        shutil.make_archive(str(folder / "train"), ending, tmp_path / "in")
    else:
        path.write_bytes(pickle.dumps(trap))
    for name in ROWS:
        taken_or_refused(name, folder)
    assert not mark.exists()


def test_a_folder_may_not_send_its_reader_to_the_network(tmp_path):
    """A README of the hub's kind names the files to read; with HF_HUB_OFFLINE no other machine is asked."""
    split = "  - split: {}\n    path: https://example.com/train.jsonl\n"
    config = "configs:\n- config_name: default\n  data_files:\n" + split.format("train") + split.format("test")
    (tmp_path / "README.md").write_text(f"---\n{config}---\n")
    assert taken_or_refused("penn_treebank", tmp_path) == 1


@pytest.mark.slow
def test_images_that_are_none(tmp_path, record_property):
    """Bytes in the place of PNG files, and a PNG that claims to be larger than memory."""
    images, tried = np.array(ROWS["pixel_images"]["image"], np.uint8), []
    whole = Path(image_files(tmp_path / "a.parquet", images)).read_bytes()
    begin = whole.index(b"\x89PNG")

    @small.tries(5, 80)
    @given(st.binary(min_size=1, max_size=30), st.integers(0, 120))
    def once(junk, at):
        with tempfile.TemporaryDirectory() as folder:
            content = bytearray(whole)
            content[begin + at : begin + at + len(junk)] = junk
            Path(folder, "train.parquet").write_bytes(content)
            Path(folder, "test.parquet").write_bytes(whole)
            tried.append(taken_or_refused("pixel_images", folder))

    once()
    record_property("data files tried", len(tried))
    record_property("data files refused", sum(tried))


def test_no_loader_asks_for_pickles_or_remote_code():
    for path in (Path(small.__file__).parents[2] / "seqjax").rglob("*.py"):
        text = path.read_text()
        assert "allow_pickle=True" not in text and "trust_remote_code" not in text and "import pickle" not in text, path

"""Sequences of vectors: gestures with a label, drawings, and what in them is refused."""

import json
import math

import jax
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from small_data import written

from seqjax import UserError
from seqjax.data.drawing import drawing
from seqjax.data.gesture import gesture, moved
from seqjax.data.vectors import vector_lists


def movements(folder, **changed):
    folder.mkdir()
    rows = [{"x": [[0, 1], [2, 1]], "label": 10}, {"x": [[4, 1], [4, 1], [6, 1]], "label": 9}]
    test = [{"x": [[1, 1]], "label": 9} | changed]
    for name, part in (("train", rows), ("test", test)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return str(folder)


def test_gestures_of_differing_lengths(tmp_path):
    task = gesture(movements(tmp_path / "d"))
    train = jax.device_get(task.examples.train)
    assert (task.input_size, task.output_size, task.baseline) == (4, 2, pytest.approx(math.log(2)))
    assert train.steps.tolist() == [2, 3] and train.labels.tolist() == [1, 0]  # 9 comes before 10
    every = np.concatenate([train.vectors[0, :2], train.vectors[1]])
    by_hand = np.array([[0, 0], [2, 2], [4, 0], [4, 0], [6, 2]], float)
    np.testing.assert_allclose(every[:, [0, 2]], (by_hand - by_hand.mean(0)) / by_hand.std(0), rtol=1e-5)
    assert not every[:, [1, 3]].any() and not train.vectors[0, 2].any()
    assert gesture(movements(tmp_path / "e"), velocity=False).input_size == 2
    batch = jax.device_get(task.examples.batch(task.examples.test))
    assert batch.inputs.shape == (1, 1, 4) and task.spell(batch, batch.targets, 0) == ["9"]


def test_numbers_beyond_what_is_computed_with_are_refused():
    """They would become infinite on the way, of which nobody is told."""
    rows = Dataset.from_dict({"x": [[[1.0]], [[2.0], [-1e39]]]})
    with pytest.raises(UserError, match=r"row 1 .* holds \[-1.e\+39\] at step 1; expected finite numbers"):
        vector_lists(rows, "x", "here")
    largest = float(np.finfo(np.float32).max)
    (sequence,) = vector_lists(Dataset.from_dict({"x": [[[largest], [-largest]]]}), "x", "here")
    assert np.isfinite(moved(sequence)).all()


def test_differences_stand_beside_the_positions():
    np.testing.assert_array_equal(moved(np.array([[1.0], [4.0], [2.0]])), [[1, 0], [4, 3], [2, -2]])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"x": []}, r"row 0 of column 'x' of split 'test' holds an array \[0, 1\]"),
        ({"x": None}, r"row 0 .* holds None; expected a list over time .*, in a csv as JSON: \[\[1.5, 2\], \[1, 0\]\]"),
        ({"x": [[1, 2], [3]]}, "row 0 .* holds no table of numbers"),
        ({"x": [[1, None]]}, r"row 0 .* holds \[ 1. nan\] at step 0; expected finite numbers throughout"),
        (
            {"label": 8},
            "row 0 of column 'label' of split 'test' holds '8', which no row to train on has; labels: 9, 10",
        ),
        ({"label": None}, "row 0 .* holds None; expected a whole number or a text"),
    ],
)
def test_bad_gestures(changed, words, tmp_path):
    with pytest.raises(UserError, match=words):
        gesture(movements(tmp_path / "d", **changed))


@pytest.mark.parametrize("kind", ["points", "shades"])
def test_a_drawing_is_asked_for_from_its_label_and_what_was_drawn_before(kind, tmp_path):
    """Points in the scale of the rows to train on, which those to test on do not change; shades from 0 to 1."""
    tested = [[1, 5], [8, 1], [9, 1]]
    task = drawing(movements(tmp_path / "d", x=tested), kind=kind)
    mean, deviation = ([3.2, 1], [4.16**0.5, 1]) if kind == "points" else (0, 255)
    rows = {"train": [(1, [[0, 1], [2, 1]]), (0, [[4, 1], [4, 1], [6, 1]])], "test": [(0, tested)]}
    for split, drawn in rows.items():
        batch = jax.device_get(task.examples.batch(getattr(task.examples, split)))
        assert batch.lengths.tolist() == [len(steps) for _, steps in drawn]
        for b, (label, steps) in enumerate(drawn):
            n, scaled = len(steps), (np.array(steps) - mean) / deviation
            np.testing.assert_array_equal(batch.inputs[:n, b, :2], [np.eye(2)[label]] * n)
            np.testing.assert_allclose(batch.inputs[:n, b, 2:], [[0, 0], *scaled[:-1]], atol=1e-6)
            np.testing.assert_allclose(batch.targets[:n, b], scaled, atol=1e-6)
            np.testing.assert_array_equal(batch.mask[:, b], np.arange(len(batch.mask)) < n)


def test_guesses_that_drawings_are_compared_with(tmp_path):
    """The mean of the points to train on, for those to test on; how dark each column is in the rows to train on."""
    where = movements(tmp_path / "d", x=[[1, 5], [8, 1]])
    squares = [2.2**2 / 4.16, 4**2, 4.8**2 / 4.16, 0]
    assert drawing(where).baseline == pytest.approx(sum(squares) / 4)
    doubt = sum(-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (3.2 / 255, 1 / 255))
    assert drawing(where, kind="shades").baseline == pytest.approx(doubt)


def test_shades_are_whole_numbers(tmp_path):
    written(tmp_path / "d.jsonl", {"x": [[[0.0], [0.5]], [[1.0], [1.0]]] * 3, "label": [0, 1] * 3})
    with pytest.raises(UserError, match=r"holds 0\.5; expected shades, whole numbers from 0 to 255"):
        drawing(str(tmp_path / "d.jsonl"), kind="shades")


@pytest.mark.parametrize(
    ("labels", "says"), [([0, 1, -1] * 2, "row 2 .*holds -1, for which"), ([0, None, 1] * 2, "row 1 ")]
)
def test_labels_that_are_withheld_or_missing_are_named_by_their_row(labels, says, tmp_path):
    rows = {"x": [[[0.0], [1.0]]] * 6, "label": labels}
    features = Features({"x": List(List(Value("float64"))), "label": ClassLabel(names=["no", "yes"])})
    if None in labels:
        features["label"] = Value("float64")  # as a csv has it
    Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "d.parquet"))
    with pytest.raises(UserError, match=says):
        gesture(str(tmp_path / "d.parquet"))

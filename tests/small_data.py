"""A data set of a few rows for each task on real data, and the arguments that make its task of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqjax import data, spec, tasks
from seqjax.spec import Spec
from seqjax.types import Task, UserError

RANDOM = np.random.default_rng(0)
LINES = {"text": ["a b <unk>", "", "b a a"]}
LABELLED = {"x": RANDOM.normal(size=(6, 4, 2)).round(2).tolist(), "label": ["a", "b", "a"] * 2}
IMAGES = {"image": RANDOM.integers(0, 256, (6, 2, 3), np.uint8).tolist(), "label": [0, 1, 2] * 2}
WORDS = [["a", "b"], ["b"], ["a", "a", "c"]] * 2
ROWS = {
    "char_lm": LINES,
    "word_lm": LINES,
    "penn_treebank": LINES,
    "sentiment": {"text": ["good", "bad, bad", "a good one"], "label": [1, 0, 1]},
    "tagging": {"tokens": WORDS, "upos": [["X", "Y"], ["Y"], ["X", "X", "Y"]] * 2},
    "ner": {"tokens": WORDS, "tags": [["B-X", "I-X"], ["O"], ["O", "B-X", "O"]] * 2},
    "translation": {"en_tok": ["a b", "b", "a a c"], "de_tok": ["x y", "y .", "x x z"]},
    "spoken_digits": {
        "audio": RANDOM.integers(-999, 999, (4, 500)).tolist(),
        "sampling_rate": [8000, 8000, 4000, 8000],
        "label": [3, 1, 3, 1],
        "speaker": ["ann", "bob"] * 2,
    },
    "gesture": LABELLED,
    "drawing": LABELLED,
    "forecast": {"date": [f"day {n}" for n in range(30)], "a": RANDOM.normal(size=30).tolist(), "b": [*range(30)]},
    "piano_rolls": {"notes": [[[60, 64], [], [108]], [[21], [21, 60]], [[60], [60]]]},
    "pixel_images": IMAGES,
    "video": IMAGES,
}
ARGUMENTS = {
    "forecast": {"window": 4, "horizon": 2, "train_rows": 15, "validation_rows": 5, "test_rows": 10},
    "spoken_digits": {"bands": 5},
    "video": {"frames": 3, "size": 6, "shrink": 1},
}


def written(path, rows):
    """The rows in the form that the file's ending says."""
    if path.suffix in (".parquet", ".arrow"):
        table = pa.table(rows)
        if path.suffix == ".parquet":
            pq.write_table(table, path)
        else:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(rows)
            table.writerows([v if isinstance(v, str) else json.dumps(v) for v in row] for row in zip(*rows.values()))
    else:
        path.write_text("\n".join(json.dumps(dict(zip(rows, row))) for row in zip(*rows.values())))
    return path.read_bytes()


def both_written(name, folder, ending="jsonl"):
    """A folder of the rows to train on and the same to test on; a series, whose parts are its rows, once."""
    Path(folder).mkdir(exist_ok=True)
    for split in ("train",) if name == "forecast" else ("train", "test"):
        written(Path(folder, f"{split}.{ending}"), ROWS[name])
    return str(folder)


def task_of(name, folder, **arguments):
    return spec.build(Spec(name, {"data": str(folder)} | ARGUMENTS.get(name, {}) | arguments), [tasks, data], Task)


def tone(hertz: float, seconds: float, rate: int = 8000) -> np.ndarray:
    """Samples of one frequency, half as loud as there can be."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def whole(samples: np.ndarray) -> np.ndarray:
    """Samples as the whole numbers of a wav file of two bytes each."""
    return (samples * 2**15).astype(np.int16)


def complaint(make, **arguments):
    """The one line that a person gets."""
    with pytest.raises(UserError) as caught:
        make(**arguments)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 700
    return text

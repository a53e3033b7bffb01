"""Data on disk: the batches, the training and the continued training are those of data in memory, bit for bit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_runs import SMALL, stopped_and_gone_on_with, stored

from experiments import train as script
from seqjax.data import streamed
from seqjax.data.penn_treebank import penn_treebank
from seqjax.data.pixel_images import pixel_images
from seqjax.data.streamed import Streamed
from seqjax.training import prepare, train
from seqjax.training.evaluation import evaluate
from seqjax.training.stream import train_batch
from seqjax.types import Model


def text(folder):
    """Some lines of words, whose windows end in the midst of lines and pieces."""
    folder.mkdir()
    words = np.random.default_rng(0).choice(["a", "b", "c", "<unk>"], (60, 5))
    for name, lines in (("ptb.train.txt", words[:40]), ("ptb.test.txt", words[40:])):
        (folder / name).write_text("\n".join(" ".join(line[: 1 + len(line[0]) % 5]) for line in lines) + "\n")
    return str(folder)


def images(path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 2))
    pq.write_table(pa.table({"image": pixels.tolist(), "label": (np.arange(20) % 3).tolist()}), path)
    return str(path)


@pytest.mark.parametrize("kind", ["word", "char", "images"])
def test_what_is_read_is_what_memory_holds(kind, tmp_path, monkeypatch):
    """Every example of both splits, a batch of the stream, and a sample."""
    monkeypatch.setattr("seqjax.data.next_token.LINES", 7)  # so that windows reach over several pieces
    if kind == "images":
        where = images(tmp_path / "all.parquet")
        memory, disk = (pixel_images("permuted", where, stream=each) for each in (False, True))
    else:
        where = text(tmp_path / "text")
        memory, disk = (penn_treebank(where, kind, window=4, stream=each) for each in (False, True))
    assert isinstance(disk.examples.train, Streamed) and not isinstance(memory.examples.train, Streamed)
    assert memory.baseline == disk.baseline and memory.input_size == disk.input_size
    for split in ("train", "test"):
        whole, there = getattr(memory.examples, split), getattr(disk.examples, split)
        assert there.count == len(whole[0])
        jax.tree.map(np.testing.assert_array_equal, there.read(np.arange(there.count)), whole)
    key = jax.random.key(3)
    for make in (
        lambda task: train_batch(task, task.examples.train, key, jnp.int32(5), 3),
        lambda task: task.sample(key, 2),
    ):
        one, other = jax.jit(lambda make=make: (make(memory), make(disk)))()
        jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_next_batch_is_read_ahead_and_only_once():
    asked = []

    def read(numbers):
        asked.append(numbers.tolist())
        return numbers * 10

    examples = Streamed(9, read)
    asked.clear()
    for here, following in (([1, 2], [3, 4]), ([3, 4], [5, 6]), ([5, 6], [7, 8])):
        found = examples._fetch(np.array(here), np.array(following))
        np.testing.assert_array_equal(found, np.array(here) * 10)
    examples._pool.shutdown()
    assert sorted(asked) == [[1, 2], [3, 4], [5, 6], [7, 8]]
    for number in range(2 * streamed.AHEAD):
        examples._ahead[b"%d" % number] = streamed.Future()
    examples._pool = streamed.ThreadPoolExecutor(1)
    examples._fetch(np.array([1]), np.array([2]))
    assert len(examples._ahead) == streamed.AHEAD


def test_it_is_chosen_by_the_size(tmp_path, monkeypatch):
    where = images(tmp_path / "all.parquet")
    assert not isinstance(pixel_images(data=where).examples.train, Streamed)
    monkeypatch.setattr(streamed, "STREAMED_FROM", 100)
    assert isinstance(pixel_images(data=where).examples.train, Streamed)


def test_an_evaluation_reads_the_whole_split_from_disk():
    model = Model(None, lambda params, inputs, lengths: (inputs[0], ()), None, None, None)
    test = Streamed(5, lambda numbers: numbers.astype(np.int32))
    found = jax.jit(lambda: evaluate(stored(3), model, (), test, 2))()
    assert found["loss"] == 2.0


def test_training_from_disk_is_training_from_memory(tmp_path):
    """Each of two devices reads its half of every batch; stopped, and gone on with: to the bit."""
    where = text(tmp_path / "text")
    settings = {"cell": "rnn(hidden=3)", "batch_size": 2, "eval_size": 3, "probe_size": 2, "learning_rates": (1e-2,)}
    settings |= {"steps": 4, "eval_every": 2, "checkpoint_every": 2, "probe_every": 4}
    task = f"penn_treebank(data={where!r}, window=4, stream=%s, carried=False)"
    train(prepare(SMALL._replace(task=task % False, **settings), "data=2,map"), tmp_path / "whole", command="test")
    prepared = prepare(SMALL._replace(task=task % True, **settings), "data=2,map")

    stopped_and_gone_on_with(prepared, tmp_path)
    runs = [json.loads((tmp_path / name / "result.json").read_text())["runs"] for name in ("run", "whole")]
    assert runs[0] == runs[1]


def test_a_bad_row_that_is_found_while_training_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(streamed, "REFUSED", refused := [])
    monkeypatch.setattr("experiments.command_line.REFUSED", refused)
    rows = [{"image": [[0, 1], [2, 3]], "label": n % 2} for n in range(6)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        rows[5]["image"] = [[0, 300], [2, 3]]
    flags = ["--steps=2", "--eval_every=2", "--batch_size=2", "--eval_size=6", "--cell=rnn(hidden=2)"]
    task = f"--task=pixel_images(data='{tmp_path}', stream=True)"
    assert script.main([task, *flags, f"--workdir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert "error: data=" in said and "holds 300; expected whole numbers from 0 to 255; what was written" in said

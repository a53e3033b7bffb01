"""Real data of other forms: piano rolls of pieces of unlike lengths, and text in windows."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from small_data import complaint

from seqjax.data.penn_treebank import penn_treebank
from seqjax.data.piano_rolls import piano_rolls

DATA = Path(__file__).parents[2] / "shared" / "data"
PIECES = [[[60, 64], [], [108]], [[21], [21, 60], [60], [64], [64]], [[72]], [[60], [60]]]  # the third has one step


def music(folder, train=PIECES, test=PIECES[:2], **others):
    folder.mkdir(exist_ok=True)
    for name, pieces in {"train": train, "test": test, **others}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"notes": piece}) + "\n" for piece in pieces))
    return str(folder)


def roll(piece):
    """A piece as rows of 88 numbers, by hand."""
    return np.array([[1.0 if note + 21 in frame else 0.0 for note in range(88)] for frame in piece])


def whole(task, split="train"):
    return jax.tree.map(np.asarray, task.examples.batch(getattr(task.examples, split)))


def test_each_frame_is_asked_for_from_those_before_it(tmp_path):
    task = piano_rolls(music(tmp_path / "d"))
    batch = whole(task)
    kept = [PIECES[0], PIECES[1], PIECES[3]]
    assert batch.inputs.shape == (4, 3, 88) and task.input_size == task.output_size == 88
    np.testing.assert_array_equal(batch.lengths, [2, 4, 1])
    for b, piece in enumerate(kept):
        n = len(piece) - 1
        np.testing.assert_array_equal(batch.inputs[:n, b], roll(piece)[:-1])
        np.testing.assert_array_equal(batch.targets[:n, b], roll(piece)[1:])
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(4) < n)
        assert not batch.inputs[n:, b].any() and not batch.targets[n:, b].any()
    drawn = jax.jit(task.sample, static_argnums=1)(jax.random.key(0), 40)
    assert set(np.asarray(drawn.lengths)) == {1, 2, 4}
    train = task.examples.train
    np.testing.assert_array_equal(task.examples.steps(train), batch.lengths)
    assert task.examples.cuts == (1, 2, 4)  # no batch is longer than its longest piece needs


def test_the_loss_is_summed_over_notes_and_averaged_over_frames(tmp_path):
    task = piano_rolls(music(tmp_path / "d"))
    batch = whole(task, "test")
    outputs = np.random.default_rng(0).normal(size=batch.targets.shape).astype(np.float32)
    frames, total, right = 0, 0.0, 0.0
    for b, piece in enumerate(PIECES[:2]):
        for t, frame in enumerate(roll(piece)[1:]):
            p = 1 / (1 + np.exp(-outputs[t, b].astype(float)))
            total -= np.sum(np.log(np.where(frame > 0, p, 1 - p)))
            on, said = frame > 0, p > 0.5
            right += (on & said).sum() / (on | said).sum()
            frames += 1
    assert float(task.loss(outputs, batch)) == pytest.approx(total / frames, rel=1e-5)
    assert float(task.score(outputs, batch)) == pytest.approx(right / frames, rel=1e-5)
    assert float(task.score(-np.ones_like(outputs), batch)) == pytest.approx(1 / 6)  # one of six frames is silent
    assert not task.solved({"loss": np.float32(0), "score": np.float32(1)})


def test_the_baseline_of_music_is_that_of_how_often_each_note_sounds(tmp_path):
    task = piano_rolls(music(tmp_path / "d"))
    batch = whole(task)
    frames = np.concatenate([roll(piece)[1:] for piece in PIECES if len(piece) > 1])
    share = np.clip(frames.mean(0), 1e-7, 1 - 1e-7)
    guess = np.broadcast_to(np.log(share / (1 - share)), batch.targets.shape).astype(np.float32)
    assert float(task.loss(guess, batch)) == pytest.approx(task.baseline, rel=1e-3)


def test_a_cut_loses_no_frame(tmp_path):
    where = music(tmp_path / "d")
    task = piano_rolls(where, cut=3)
    batch = whole(task)
    np.testing.assert_array_equal(batch.lengths, [2, 3, 1, 1])
    np.testing.assert_array_equal(batch.targets[2, 1], roll(PIECES[1])[3])
    np.testing.assert_array_equal(batch.inputs[0, 2], roll(PIECES[1])[3])
    np.testing.assert_array_equal(batch.targets[0, 2], roll(PIECES[1])[4])
    np.testing.assert_array_equal(whole(task, "test").lengths, [2, 4])
    assert task.baseline == piano_rolls(where).baseline


def test_another_split_can_be_tested_on(tmp_path):
    where = music(tmp_path / "d", validation=PIECES[3:])
    assert len(piano_rolls(where, tested_on="validation").examples.test.steps) == 1
    (tmp_path / "d" / "validation.jsonl").unlink()
    text = complaint(piano_rolls, data=where, tested_on="validation")
    assert "has no split 'validation' to test on; splits: train, test" in text


def test_music_is_shown_by_the_names_of_its_notes(tmp_path):
    task = piano_rolls(music(tmp_path / "d", train=PIECES[:1]))
    lines = task.show(whole(task), 0).splitlines()
    assert [line.split() for line in lines] == [
        ["step", "1", "C4", "E4", "next", "-"],
        ["step", "2", "-", "next", "C8"],
    ]


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([[[20], [21]]], "holds 20; expected lists over time of lists of MIDI numbers from 21 to 108"),
        ([[[60], [109]]], "holds 109; expected"),
        ([[[60.5], [61.0]]], "holds lists of lists of double"),
        ([[60, 61]], "holds list<"),
        ([["C4"]], "holds list<"),
        ([[[60]]], "has no piece of two steps"),
        ([[[60], None]], "missing values"),
        ([[[60], [None]]], "missing values"),
    ],
)
def test_bad_music(tmp_path, pieces, says):
    where = music(tmp_path / "d", train=pieces, test=pieces)
    assert says in (text := complaint(piano_rolls, data=where)) and "column 'notes' of split 'train'" in text


def test_bad_arguments_of_music(tmp_path):
    where = music(tmp_path / "d")
    assert "cut=0; expected at least 1" in complaint(piano_rolls, data=where, cut=0)
    assert "column='pitches'" in complaint(piano_rolls, data=where, column="pitches")


@pytest.mark.skipif(not (DATA / "jsb_chorales").is_dir(), reason="the folder shared/data/jsb_chorales is missing")
def test_jsb_chorales():
    """As many pieces and steps as were published; the frequencies of notes from the file itself."""
    task = piano_rolls(str(DATA / "jsb_chorales"))
    train, test = task.examples.train, task.examples.test
    assert (len(train.steps), int(train.steps.sum())) == (229, 13_807 - 229)
    assert (len(test.steps), int(test.steps.sum())) == (77, 4_725 - 77)
    lines = (DATA / "jsb_chorales" / "train.jsonl").read_text().splitlines()
    frames = np.concatenate([roll(json.loads(line)["notes"])[1:] for line in lines])
    p = frames.mean(0)[(frames.sum(0) > 0)]
    assert task.baseline == pytest.approx(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(), rel=1e-9)


# The Penn Treebank: the files' form, not their text

WORDS = ["the", "cat", "sat", "on", "the", "mat", "<eos>", "a", "dog", "<unk>", "the", "cat", "<eos>"]
TRAIN = " the cat sat on the mat \n a dog <unk> the cat \n"
VALID, TEST = " a cat \n", " the horse sat \n on a mat \n"


def text_files(folder, train=TRAIN, valid=VALID, test=TEST):
    folder.mkdir(exist_ok=True)
    for name, text in {"train": train, "valid": valid, "test": test}.items():
        (folder / f"ptb.{name}.txt").write_text(text)
    return str(folder)


def read_words(task, windows):
    """(read, asked) of the windows, as the task shows them."""
    batch = jax.tree.map(np.asarray, task.examples.batch(windows))
    read, asked = [], []
    for number in range(len(batch.lengths)):
        lines = task.show(batch, number).splitlines()
        read += lines[0].split(None, 1)[1].strip("'").split()
        asked += lines[1].split(None, 1)[1].strip("'").split()
    return read, asked


@pytest.mark.parametrize("window", [4, 50])
def test_every_word_but_the_first_is_asked_for_once(tmp_path, window):
    where = text_files(tmp_path / "d")
    task = penn_treebank(where, window=window)
    train, test = task.examples.train, task.examples.test
    assert read_words(task, train) == (WORDS[:-1], WORDS[1:])
    assert task.input_size == task.output_size == len(set(WORDS)) and task.tokens
    known = ["the", "<unk>", "sat", "<eos>", "on", "a", "mat", "<eos>"]
    assert read_words(task, test) == (known[:-1], known[1:])
    assert len(train.steps) == math.ceil(12 / window) and train.tokens.shape[1] == min(window, 12) + 1
    tried = penn_treebank(where, window=window, tested_on="validation")
    assert read_words(tried, tried.examples.test)[1] == ["cat", "<eos>"]


def test_characters_are_those_of_the_file(tmp_path):
    task = penn_treebank(text_files(tmp_path / "d", test=TRAIN), "char", window=1000)
    batch = whole(task, "test")
    names = sorted(set(TRAIN))
    assert "".join(names[n] for n in batch.inputs[:, 0][batch.mask[:, 0] > 0]) == TRAIN[:-1]
    assert "".join(names[n] for n in batch.targets[:, 0][batch.mask[:, 0] > 0]) == TRAIN[1:]
    assert task.input_size == len(names)


def test_the_baseline_of_text_and_its_bits(tmp_path):
    task = penn_treebank(text_files(tmp_path / "d"), window=4)
    share = np.unique(WORDS, return_counts=True)[1] / 13
    assert task.baseline == pytest.approx(-(share * np.log(share)).sum())
    batch = whole(task)
    outputs = np.random.default_rng(0).normal(size=(*batch.targets.shape, task.output_size)).astype(np.float32)
    assert float(task.score(outputs, batch)) == pytest.approx(float(task.loss(outputs, batch)) / math.log(2), rel=1e-5)
    assert not task.solved({"loss": np.float32(0), "score": np.float32(0)})


def test_words_and_spelled_words_are_not_read_as_one_text(tmp_path):
    """Mikolov's own folder has both, and the names of either say the same splits."""
    where = text_files(tmp_path / "d")
    for name in ("train", "valid", "test"):
        (tmp_path / "d" / f"ptb.char.{name}.txt").write_text(" t h e _ c a t \n")
    for level in ("word", "char"):
        text = complaint(penn_treebank, data=where, level=level)
        assert "holds ptb.train.txt and ptb.char.train.txt, which would both be read; expected a folder of one" in text


def test_bad_text(tmp_path):
    where = text_files(tmp_path / "d", train=" the cat \n")
    text = complaint(penn_treebank, data=where)
    assert "'horse' is not in the training text, which has no <unk> either" in text
    assert "window=0; expected at least 1" in complaint(penn_treebank, data=where, window=0)
    (tmp_path / "d" / "ptb.test.txt").unlink()
    assert "has no split 'test' to test on" in complaint(penn_treebank, data=where)
    assert "row 0 of column 'notes' of split 'train' holds a list; expected a line of text" in complaint(
        penn_treebank, data=music(tmp_path / "m"), column="notes"
    )

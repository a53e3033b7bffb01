"""Recordings: what is read as samples, the mel bands, words and strings of them, and their loss and error rate."""

import io
import itertools
import math

import datasets
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile
from small_data import tone, whole

from seqjax import UserError
from seqjax.data.labels import share_of_right
from seqjax.data.sound import log_mel, recordings
from seqjax.data.spoken_digits import spoken_digits
from seqjax.data.unaligned import best_path, edits, string_loss, strings_right, word_error_rate
from seqjax.tasks.showing import show
from seqjax.types import Batch

RATE = 8000


def digits(folder, **changed):
    """Two speakers say 'low' and 'high' four times each, in tones; the other split is the same."""
    folder.mkdir()
    kinds = list(itertools.product("ab", ("high", "low"), range(4)))
    rows = {
        "audio": [whole(tone(400 if name == "low" else 2000, 0.1 + 0.02 * n)).tolist() for _, name, n in kinds],
        "sampling_rate": [RATE] * len(kinds),
        "label": [name for _, name, _ in kinds],
        "speaker": [who for who, _, _ in kinds],
    } | changed
    for split in ("train", "test"):
        datasets.Dataset.from_dict(rows).to_parquet(folder / f"{split}.parquet")
    return str(folder)


def read(rows, rate=RATE):
    return recordings(datasets.Dataset.from_dict(rows), "audio", "sampling_rate", rate, "here")


def test_a_tone_is_loudest_in_its_own_band():
    """Bands of equal width in mel: their middles, computed by hand, and a frame every 16 ms."""
    bands = 20
    mel = lambda hertz: 2595 * math.log10(1 + hertz / 700)  # noqa: E731
    for hertz in (150, 400, 1000, 3000):
        found = log_mel(tone(hertz, 0.2).astype(np.float32), RATE, bands)
        assert found.shape == (1 + 1600 // 128, bands)
        nearest = round(mel(hertz) / mel(RATE / 2) * (bands + 1)) - 1
        assert abs(int(found[5].argmax()) - nearest) <= 1
    silence = log_mel(np.zeros(1, np.float32), RATE, bands)
    assert silence.shape == (1, bands) and np.allclose(silence, math.log(1e-6))
    louder = log_mel(tone(400, 0.2) * 0.1, RATE, bands) - log_mel(tone(400, 0.2), RATE, bands)
    assert louder[5].min() == pytest.approx(2 * math.log(0.1), abs=1e-2)


def test_files_of_any_rate_and_lists_of_samples_are_the_same_sound():
    wav = {}
    for name, rate, samples in (
        ("plain", RATE, whole(tone(400, 0.2))),
        ("faster", 2 * RATE, whole(tone(400, 0.2, 2 * RATE))),
        ("stereo", RATE, np.stack([whole(tone(400, 0.2))] * 2, 1)),
        ("bytes", RATE, (tone(400, 0.2) * 127 + 128).astype(np.uint8)),
        ("real", RATE, tone(400, 0.2).astype(np.float32)),
    ):
        wavfile.write(file := io.BytesIO(), rate, samples)
        wav[name] = {"bytes": file.getvalue(), "path": f"{name}.wav"}
    rows = datasets.Dataset.from_dict({"audio": list(wav.values())}).cast_column("audio", datasets.Audio(decode=False))
    found = recordings(rows, "audio", "sampling_rate", RATE, "here")
    (listed,) = read({"audio": [whole(tone(400, 0.2)).tolist()]})
    (faster,) = read({"audio": [whole(tone(400, 0.2, 2 * RATE)).tolist()], "sampling_rate": [2 * RATE]})
    for samples in (*found, listed, faster):
        assert samples.shape == (1600,) and samples.dtype == np.float32
        np.testing.assert_allclose(samples[200:-200], tone(400, 0.2)[200:-200], atol=0.02)


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        ([[0, 1], []], "row 1 of column 'audio' of split 'None' holds no samples"),
        ([[0.0], [math.nan]], "row 1 .* holds a sample of nan; expected real ones from -1 to 1"),
        ([[0.5, 900.0]], r"row 0 .* holds a sample of 900; expected real ones from -1 to 1, whole ones of 16 bits"),
        (["/dev/zero"], r"row 0 .* cannot be read as a wav file \(/dev/zero\)"),
        ([{}, None], "row 0 .* holds neither the bytes of a wav file nor its path"),
        ([{"path": 1}], "row 0 .* holds neither the bytes of a wav file nor its path"),
        ([{"bytes": 1}], "row 0 .* cannot be read as a wav file"),
        ([["a"]], "row 0 .* holds no samples"),
        ([[[1], [2]]], r"row 0 .* holds an array \[2, 1\]"),
    ],
)
def test_what_is_no_recording_is_named(audio, words):
    with pytest.raises(UserError, match=words):
        read({"audio": audio})


@pytest.mark.parametrize("rate", [0, 999, 768_001, 2**40])
def test_a_rate_that_no_recording_has_is_refused(rate):
    with pytest.raises(UserError, match=f"row 0 .*: a rate of {rate}; expected 1000 to 768000 samples a second"):
        read({"audio": [[0.0]], "sampling_rate": [rate]})


def test_what_is_no_wav_file_is_named():
    rows = datasets.Dataset.from_dict({"audio": [{"bytes": b"RIFF", "path": "b.wav"}]})
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    with pytest.raises(UserError, match=r"row 0 .* cannot be read as a wav file \(b.wav\)"):
        recordings(rows, "audio", "sampling_rate", RATE, "here")


def test_a_recording_that_is_cut_off_is_refused(recwarn):
    """SciPy would give what there is, with a warning."""
    file = io.BytesIO()
    wavfile.write(file, RATE, np.arange(100, dtype=np.int16))
    content = file.getvalue()
    rows = lambda some: datasets.Dataset.from_dict({"audio": [{"bytes": some, "path": None}]})  # noqa: E731
    with pytest.raises(UserError, match=r"Reached EOF prematurely; .* expected one, whole and uncompressed"):
        recordings(rows(content[:-20]), "audio", "sampling_rate", RATE, "here")
    noted = content[:36] + b"note" + bytes([4, 0, 0, 0]) + b"mine" + content[36:]
    (found,) = recordings(rows(noted), "audio", "sampling_rate", RATE, "here")
    assert len(found) == 100 and not recwarn


def test_words(tmp_path):
    task = spoken_digits(digits(tmp_path / "d"), bands=8)
    train = task.examples.train
    assert (task.input_size, task.output_size, task.readout) == (8, 2, "last")
    assert task.baseline == pytest.approx(math.log(2)) and train.steps.tolist() == [7, 8, 9, 11] * 4
    exist = np.arange(train.frames.shape[1]) < np.asarray(train.steps)[:, None]
    every = np.asarray(train.frames)[exist]
    np.testing.assert_allclose(every.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(every.std(0), 1, rtol=1e-4)
    assert not np.asarray(train.frames)[~exist].any()
    batch = task.examples.batch(train)
    assert task.spell(batch, batch.targets, 0) == ["high"] and task.spell(batch, batch.targets, 4) == ["low"]
    assert task.grade([["a"], ["b"]], [["a"], ["a"]], [1, 1]) == {
        "accuracy": share_of_right([["a"]] * 2, [["a"], ["b"]])
    }
    assert show(task, jax.device_get(batch), 0).endswith("target at the end: high")
    held = spoken_digits(digits(tmp_path / "e"), held_out_speaker="b", bands=8)
    assert (len(held.examples.train.words), len(held.examples.test.words)) == (16, 16)


def test_strings_are_recordings_of_one_speaker_after_each_other(tmp_path):
    given = {"strings": True, "shortest": 1, "longest": 3, "bands": 8}
    where = digits(tmp_path / "d")
    task, words = spoken_digits(where, **given), spoken_digits(where, bands=8).examples.train
    split = task.examples.train
    some = split.read(np.arange(40))
    again = split.read(np.array([7]))
    said = [task.coding[0][word - 1] for word in some.words[7] if word]
    assert show(task, jax.device_get(task.examples.batch(some)), 7).endswith(f"target at the end: {' '.join(said)}")
    jax.tree.map(lambda leaf, other: np.testing.assert_array_equal(leaf[7:8], other), some, again)
    single = [np.asarray(frames)[:steps] for frames, steps in zip(words.frames, words.steps)]
    counts = (some.words > 0).sum(1)
    assert set(counts.tolist()) == {1, 2, 3} and some.frames.shape[1] == int(1.5 * 3 * words.steps.mean())
    for frames, string, steps in zip(some.frames, some.words, some.steps):
        at, speakers = 0, [{0, 1}]
        for word in string[string > 0]:
            fits = [n for n, one in enumerate(single) if np.array_equal(frames[at : at + len(one)], one)]
            fits = [n for n in fits if words.words[n] == word - 1]
            assert fits
            speakers.append({n // 8 for n in fits})
            at += len(single[max(fits, key=lambda n: len(single[n]))])
        assert at == steps and set.intersection(*speakers) and not frames[at:].any()
    assert not np.array_equal(split.read(np.arange(9)).words, task.examples.test.read(np.arange(9)).words)


def test_strings_are_held_against_the_words_as_they_are_drawn(tmp_path):
    """Every speaker as often: of a, who says 'high' alone, and of b, who says it in two of ten recordings."""
    changed = {"speaker": ["a"] * 6 + ["b"] * 10, "label": ["high"] * 8 + ["low"] * 8}
    task = spoken_digits(digits(tmp_path / "d", **changed), strings=True, bands=8)
    words = task.examples.train.read(np.arange(4000)).words
    drawn = np.bincount(words[words > 0] - 1) / (words > 0).sum()
    assert drawn == pytest.approx([0.4, 0.6], abs=0.02)
    assert task.baseline == pytest.approx(-0.6 * math.log(0.6) - 0.4 * math.log(0.4))


def test_strings_of_a_speaker_who_is_slower_than_all_others(tmp_path):
    """None of them is as short as what is usual for the others, and yet strings of them are found."""
    kinds = list(itertools.product("ab", ("high", "low")))
    audio = [whole(tone(400, 0.5 if who == "b" else 0.1)).tolist() for who, _ in kinds]
    rows = {"sampling_rate": [RATE] * 4, "label": [name for _, name in kinds], "speaker": [who for who, _ in kinds]}
    where = digits(tmp_path / "d", audio=audio, **rows)
    task = spoken_digits(where, strings=True, held_out_speaker="b", shortest=2, longest=2, bands=8)
    assert task.examples.test.read(np.arange(3)).steps.tolist() == [64, 64, 64]


def test_the_loss_of_a_string_is_a_sum_over_its_alignments():
    """Against every path of 4 steps that collapses to the string; one step of the second sequence is padding."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(4, 2, 3)).astype(np.float32)
    targets, lengths = np.array([[1, 2], [1, 0]]), np.array([4, 3])
    mask = (targets > 0).astype(np.float32)
    batch = Batch(jnp.zeros((4, 2, 1)), jnp.asarray(targets), jnp.asarray(mask), jnp.asarray(lengths))
    chances = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
    total = 0.0
    for n, string in enumerate(([1, 1], [2])):
        collapse = lambda path: [k for k, _ in itertools.groupby(path) if k]  # noqa: E731
        paths = [p for p in itertools.product(range(3), repeat=int(lengths[n])) if collapse(p) == string]
        total -= math.log(sum(math.prod(chances[t, n, k] for t, k in enumerate(path)) for path in paths))
    loss, gradient = jax.jit(jax.value_and_grad(string_loss))(jnp.asarray(outputs), batch)
    assert loss == pytest.approx(total / 3, rel=1e-5)
    assert not np.asarray(gradient)[3, 1].any()
    one = batch._replace(mask=batch.mask * jnp.asarray([1.0, 0.0]))  # a sequence that only fills up an evaluation
    assert float(string_loss(jnp.asarray(outputs), one)) != pytest.approx(total / 3)


def test_the_best_path_and_the_errors_of_its_words():
    said = np.array([[0, 1, 1, 0, 1, 2], [2, 2, 0, 0, 0, 1], [1, 2, 1, 2, 1, 2]]).T
    targets = np.array([[1, 1, 2], [2, 1, 0], [1, 2, 1]]).T
    outputs = jnp.asarray(10.0 * np.eye(3, dtype=np.float32)[said])
    mask = jnp.asarray((targets > 0).astype(np.float32))
    batch = Batch(outputs, jnp.asarray(targets), mask, jnp.asarray([6, 6, 6]))
    np.testing.assert_array_equal(best_path(outputs, batch, 3), [[1, 2, 1], [1, 1, 2], [2, 0, 1]])
    assert float(strings_right(outputs, batch)) == pytest.approx(5 / 8)  # the third says too much; 5 of 8 words
    one_too_many = best_path(outputs, batch, len(outputs))[:, 2]
    assert one_too_many.tolist() == [1, 2, 1, 2, 1, 2] and edits(list("121"), list("121212")) == 3
    shorter = batch._replace(lengths=jnp.asarray([5, 6, 3]))
    assert float(strings_right(outputs, shorter)) == pytest.approx(5 / 8)
    assert [edits(list(a), list(b)) for a, b in (("", "ab"), ("abc", "abc"), ("kitten", "sitting"))] == [2, 0, 3]
    assert word_error_rate([["a", "b"], ["c", "d"]], [["a"], ["c", "x"]]) == 0.5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"shortest": 0}, "shortest=0, longest=6"),
        ({"longest": 1001}, "shortest=3, longest=1001; expected 1 <= shortest <= longest <= 1000"),
        ({"bands": 0}, "bands=0; expected 1 to 129, the frequencies of a frame at rate=8000"),
        ({"bands": 130}, "bands=130"),
        ({"rate": 10**7}, "rate=10000000; expected 1000 to 768000"),
        ({"held_out_speaker": "c"}, "held_out_speaker='c'; expected one of several speakers: a, b"),
        ({"audio": "sound"}, "audio='sound'"),
    ],
)
def test_what_is_refused(changed, words, tmp_path):
    with pytest.raises(UserError, match=words):
        spoken_digits(digits(tmp_path / "d"), **changed)


@pytest.mark.parametrize(("names", "told"), [([None, "b"], "None"), ([["a"], ["b"]], r"\['a'\]")])
def test_a_speaker_without_a_name_is_refused(names, told, tmp_path):
    where = digits(tmp_path / "d", speaker=[names[n // 8] for n in range(16)])
    for changed in ({"strings": True}, {"held_out_speaker": "b"}):
        with pytest.raises(UserError, match=f"row 0 of column 'speaker' of split 'train' holds {told}; expected a "):
            spoken_digits(where, **changed)
    assert spoken_digits(where).output_size == 2

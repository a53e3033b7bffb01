"""Wav files: samples between -1 and 1, of whatever width they are kept in; folders of them as words."""

import shutil
import wave

import numpy as np
import pytest
from scipy.io import wavfile
from small_data import tone, whole

from seqjax import UserError
from seqjax.data.sound import wav_files
from seqjax.data.spoken_digits import spoken_digits

RATE = 8000
SHARES = np.array([-1, -0.5, -0.25, 0, 0.25, 0.5])


def kept(path, samples, width):
    """A wav file of channels [S, C] of whole numbers, so many bytes each, the lowest first."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(b"".join(int(n).to_bytes(width, "little", signed=width > 1) for n in samples.ravel()))
    return str(path)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_any_width_are_shares_of_the_loudest(width, tmp_path):
    """Whole numbers with a sign, but those of one byte, whose silence is 128."""
    least = 1 / 2 ** (8 * width - 1)
    shares = np.array([*SHARES, least, 1 - least])
    whole = shares * 2 ** (8 * width - 1) + (128 if width == 1 else 0)
    (found,) = wav_files([kept(tmp_path / "a.wav", whole[:, None], width)], RATE)
    np.testing.assert_array_equal(found, shares.astype(np.float32))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_real_samples_stay_as_they_are(kind, tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, SHARES.astype(kind))
    np.testing.assert_array_equal(wav_files([str(tmp_path / "a.wav")], RATE)[0], SHARES)


def test_channels_are_averaged(tmp_path):
    samples = np.array([[100, 300], [-400, 0], [7, -7]])
    (found,) = wav_files([kept(tmp_path / "a.wav", samples, 2)], RATE)
    np.testing.assert_array_equal(found * 2**15, [200, -200, 0])


def test_a_folder_of_wav_files(tmp_path):
    for split, hertz, name in (("train", 400, "low"), ("train", 2000, "high"), ("test", 400, "low")):
        (tmp_path / split / name).mkdir(parents=True)
        wavfile.write(tmp_path / split / name / "1.wav", 2 * RATE, whole(tone(hertz, 0.1, 2 * RATE)))
    task = spoken_digits(str(tmp_path), bands=8)
    batch = task.examples.batch(task.examples.test)
    assert len(task.examples.train.words) == 2 and task.spell(batch, batch.targets, 0) == ["low"]
    with pytest.raises(UserError, match="does not tell who speaks"):
        spoken_digits(str(tmp_path), strings=True)
    heard, typed = task.examples.batch(task.examples.test), task.parse([str(tmp_path / "test" / "low" / "1.wav")])
    np.testing.assert_allclose(typed.inputs, heard.inputs, atol=1e-5)
    shutil.copytree(tmp_path / "train", tmp_path / "Dev")
    renamed = spoken_digits(str(tmp_path), audio="sound", label="word", bands=8, tested_on="validation")
    assert len(renamed.examples.train.words) == len(renamed.examples.test.words) == 2
    assert renamed.read(str(tmp_path))[0].lengths.shape == (5,)  # all that lie there, of whatever split
    shutil.copytree(tmp_path / "test", tmp_path / "alone" / "test")
    with pytest.raises(UserError, match="has no wav files to train on, or outside of test"):
        spoken_digits(str(tmp_path / "alone"))
    for place in ("2.wav", "test/2.wav"):
        shutil.copy(tmp_path / "test" / "low" / "1.wav", tmp_path / place)
        with pytest.raises(UserError, match=rf"{place} lies in no folder that tells what it says; .*train/yes/1.wav"):
            spoken_digits(str(tmp_path))
        (tmp_path / place).unlink()
    with pytest.raises(UserError, match=r"there is no file no.wav; a path is taken from the folder in which"):
        task.parse(["no.wav"])
    (tmp_path / "test" / "low" / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"low/1.wav' cannot be read as a wav file"):
        task.parse([str(tmp_path / "test" / "low" / "1.wav")])
    with pytest.raises(UserError, match=r"row 0 of column 'audio' of split 'test' cannot be read as a wav file"):
        spoken_digits(str(tmp_path))


@pytest.mark.parametrize("data", ["~nobody-here/d", "./" + 300 * "a"])
def test_a_place_that_cannot_be(data):
    with pytest.raises(UserError, match=f"data='{data}': no such file or folder"):
        spoken_digits(data)

"""Wav files: samples between -1 and 1, of whatever width they are kept in."""

import wave

import numpy as np
import pytest
from scipy.io import wavfile

from seqjax.data.sound import wav_files

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

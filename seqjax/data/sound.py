"""Recordings as sequences of vectors: samples at one rate, and the logarithm of their energy in mel bands."""

from __future__ import annotations

import io
import os
import warnings
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from seqjax.data.files import SPLITS
from seqjax.data.text import place
from seqjax.types import UserError

if TYPE_CHECKING:
    from datasets import Dataset

FRAME, HOP = 0.032, 0.016  # seconds
QUIET = 1e-6  # added to energies, of samples between -1 and 1
LOUDEST = 16  # of samples between -1 and 1, as wav files of real numbers may go beyond
RATES = (1000, 768_000)  # samples a second


def recordings(rows: Dataset, column: str, rate_column: str, rate: int, data: str) -> list[np.ndarray]:
    """A column of recordings as mono samples [S] float32 between -1 and 1, at `rate` a second.

    What is read: lists of samples, whole ones of 16 bits or real ones between -1 and 1, with the rate in another
    column, if it is not `rate`; wav files, or texts that are paths of such. Several channels are averaged, another
    rate is resampled (polyphase).

    Raises:
        UserError: with the row's number, what is no recording, is empty, or not finite.
    """
    import datasets

    if isinstance(rows.features[column], datasets.Audio):
        rows = rows.cast_column(column, datasets.Audio(decode=False))
    rates = rows[:][rate_column] if rate_column in rows.column_names else [rate] * len(rows)
    found = []
    for row, (value, own) in enumerate(zip(rows[:][column], rates)):
        at = place(rows, column, data, row)
        value = {"bytes": None, "path": value} if isinstance(value, str) else value
        own, samples = _wav(value, at) if isinstance(value, dict) else (own, _samples(value, at))
        found.append(_at_rate(samples, own, rate, at))
    return found


def wav_files(paths: list[str], rate: int) -> list[np.ndarray]:
    """The recordings of wav files, as of `recordings`. Raises UserError with the path of one that is none."""
    read = [_wav({"bytes": None, "path": os.path.expanduser(path)}, repr(path)) for path in paths]
    return [_at_rate(samples, own, rate, repr(path)) for path, (own, samples) in zip(paths, read)]


def wav_folder(data: str, audio: str, label: str) -> dict[str, Dataset] | None:
    """The splits of a folder of wav files: columns of their paths and of the names of the folders they lie in.

    Folders at the top that are named as in SPLITS are the splits; else all is 'train'. None where there
    are no wav files. (The builder of `datasets` for such folders asks for PyTorch's decoder.) Raises UserError
    where all of them lie in validation or test, or one in no folder that tells what it says.
    """
    import datasets

    splits: dict[str, dict[str, list[str]]] = {}
    for path in _wav_paths(data):
        folders = path.relative_to(os.path.expanduser(data)).parts[:-1]
        split = SPLITS.get(folders[0].lower()) if folders else None
        if len(folders) == (split is not None):
            expected = "expected one named after that: my_words/train/yes/1.wav"
            raise UserError(f"data={data!r}: {path} lies in no folder that tells what it says; {expected}")
        columns = splits.setdefault(split or "train", {audio: [], label: []})
        columns[audio].append(str(path))
        columns[label].append(folders[-1])
    if splits and "train" not in splits:
        raise UserError(f"data={data!r} has no wav files to train on, or outside of {', '.join(splits)}")
    made = datasets.Dataset.from_dict
    return {name: made(columns, split=datasets.NamedSplit(name)) for name, columns in splits.items()} or None


def wav_rows(data: str, audio: str) -> Dataset | None:
    """All wav files of a folder, in the order of their paths, as a column; None where there are none."""
    import datasets

    paths = [str(path) for path in _wav_paths(data)]
    return datasets.Dataset.from_dict({audio: paths}, split=datasets.NamedSplit("all")) if paths else None


def _wav_paths(data: str) -> list[Path]:
    top = os.path.expanduser(data)
    paths = Path(top).rglob("*") if os.path.isdir(top) else ()
    return sorted(path for path in paths if path.suffix.lower() == ".wav")


def frequencies(rate: int) -> int:
    """How many a frame tells apart, from 0 to half the rate."""
    return round(FRAME * rate) // 2 + 1


def log_mel(samples: np.ndarray, rate: int, bands: int) -> np.ndarray:
    """[T, bands] the log energy in bands of equal width in mel, T = 1 + the samples / HOP, rounded down.

    Frames of 32 ms every 16 ms under a Hann window, the ends filled up with silence; mel = 2595 lg(1 + Hz / 700)
    (O'Shaughnessy 1987), triangles from 0 to half the rate.
    """
    frame, hop = round(FRAME * rate), round(HOP * rate)
    filled = np.pad(samples, (frame // 2, frame))
    starts = np.arange(1 + len(samples) // hop) * hop
    frames = filled[starts[:, None] + np.arange(frame)] * np.hanning(frame + 1)[:-1]
    energy = np.abs(np.fft.rfft(frames)) ** 2 / frame
    return np.log(energy @ _triangles(frame, rate, bands) + QUIET).astype(np.float32)


def _triangles(frame: int, rate: int, bands: int) -> np.ndarray:
    """[frequencies, bands] how much of each frequency a band takes."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    frequency = np.fft.rfftfreq(frame, 1 / rate)[:, None]
    return np.maximum(0, np.minimum((frequency - low) / (middle - low), (high - frequency) / (high - middle)))


def _at_rate(samples: np.ndarray, own: object, rate: int, at: str) -> np.ndarray:
    if not isinstance(own, (int, float)) or not RATES[0] <= own <= RATES[1] or own != int(own):
        raise UserError(f"{at}: a rate of {own!r}; expected {RATES[0]} to {RATES[1]} samples a second, a whole number")
    own = int(own)
    if not samples.size:
        raise UserError(f"{at} holds no samples")
    if len(wrong := samples[~(np.abs(samples) <= LOUDEST)]):
        expected = "expected real ones from -1 to 1, whole ones of 16 bits"
        raise UserError(f"{at} holds a sample of {wrong[0]:.3g}; {expected}")
    if own != rate:
        common = gcd(own, rate)
        samples = resample_poly(samples, rate // common, own // common)
    return samples.astype(np.float32)


def _samples(value: object, at: str) -> np.ndarray:
    try:
        samples = np.asarray(value)
        whole = np.issubdtype(samples.dtype, np.integer)
        samples = samples.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{at} holds no samples; expected a list of numbers, or a wav file") from error
    if samples.ndim != 1:
        raise UserError(f"{at} holds an array {list(samples.shape)}; expected one list of samples")
    return samples / 2**15 if whole else samples


def _content(path: Path) -> bytes:
    if not path.is_file():  # but a folder, or a device that never ends
        raise FileNotFoundError(path)
    return path.read_bytes()


def _wav(value: dict, at: str) -> tuple[int, np.ndarray]:
    content, path = value.get("bytes"), value.get("path")
    if content is None and not isinstance(path, str):
        raise UserError(f"{at} holds neither the bytes of a wav file nor its path; expected one of them")
    if content is None and not os.path.exists(path):
        where = "a path is taken from the folder in which the command runs, if it does not begin with '/'"
        raise UserError(f"{at}: there is no file {path}; {where}")
    try:
        content = _content(Path(path)) if content is None else content
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Chunk")  # of a kind that holds no samples
            warnings.filterwarnings("error", "Reached EOF")
            rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # whatever the reader says of bytes that are no wav file
        told = f"{at} cannot be read as a wav file ({path}): {str(error).rstrip('.')}"
        raise UserError(f"{told}; expected one, whole and uncompressed") from error
    scale = {"int16": 2**15, "int32": 2**31, "uint8": 2**7}.get(str(samples.dtype), 1)
    samples = (samples.astype(np.float64) - (128 if samples.dtype == np.uint8 else 0)) / scale
    return int(rate), samples.mean(1) if samples.ndim == 2 else samples

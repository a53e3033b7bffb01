"""Spoken words: which one a recording says, or which string of them several recordings of a speaker say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.labels import entropy, label_names, numbered_labels, require_several, share_of_right
from seqjax.data.loading import load, load_alone
from seqjax.data.sound import RATES, frequencies, log_mel, recordings, wav_files, wav_folder, wav_rows
from seqjax.data.stored import stored_task
from seqjax.data.streamed import Streamed
from seqjax.data.text import cuts, train_and_test
from seqjax.data.unaligned import best_path, string_loss, strings_right, word_error_rate
from seqjax.data.vectors import moments, padded, standardized
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.types import Array, Batch, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

TRAIN_STRINGS, TEST_STRINGS = 2**20, 1000
WORD_CUTS = 4
MOST_WORDS = 1000
LEAST_FRAMES = 2  # of a recording that strings are made of


class Spoken(NamedTuple):
    """Recordings, each as long as the longest, and what they say."""

    frames: Array  # [N, T, bands] float32
    words: Array  # [N], or [N, U] with zeros past the string's end; of strings, 1 is the first word
    steps: Array  # [N] int32, frames


class Recording(NamedTuple):
    """One word of one speaker."""

    frames: np.ndarray
    word: tuple[str, str]
    speaker: str


def spoken_digits(
    data: str,
    audio: str = "audio",
    label: str = "label",
    speaker: str = "speaker",
    strings: bool = False,
    shortest: int = 3,
    longest: int = 6,
    held_out_speaker: str | None = None,
    bands: int = 40,
    rate: int = 8000,
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Read the frames of a recording and say at its end which word it is; or of several joined which string they are.

    A step is a frame of `bands` log energies (`log_mel`), standardized by the mean and deviation of all frames of the
    rows to train on. Frames are computed when the data are loaded.

    Words: many-to-one; the loss is in nats, the score the share of recordings that are right.
    Baseline: the entropy of the labels.

    Strings: `shortest` to `longest` recordings of one speaker, drawn with replacement, their frames one after the
    other; the network answers at every step with a word or a blank, and the loss is the negative log-likelihood
    of the string over all its alignments (connectionist temporal classification, Graves et al. 2006), in nats a word.
    Each string to train on is drawn by its number from the rows to train on, each of the 1,000 to test on from
    those to test on; one whose frames are more than longest·(the mean of a word's frames)·3/2, and more than
    shortest·(the mean of the slowest speaker's), is drawn again. The score is the share of words whose whole string is
    said without an error, by the likeliest word of each step (best path); `python -m experiments.predict RUN_DIR` tells
    the word error rate. Baseline: the entropy of a drawn word's label, of somebody who knows how many words there are.

    Solved: never; published numbers are compared.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv), or a folder of wav files in
            folders named after what they say: my_words/train/yes/1.wav.
        audio: the column of recordings: lists of samples, wav files, or their paths, from where the command runs.
        label: the column of what they say.
        speaker: the column of who speaks; only for strings and a held-out speaker.
        strings: join recordings.
        shortest: recordings of a string, at least 1.
        longest: recordings of a string, at most.
        held_out_speaker: train on all recordings of the others, of the rows to train on and to test on, and test on
            all of this one.
        bands: D.
        rate: samples a second; recordings at another rate are resampled. Lists are taken to have it, if no column
            'sampling_rate' says otherwise.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; with the row's number, what is no
            recording, is empty or not finite, a label that no row to train on has, or a speaker that is neither a whole
            number nor a text; one label alone; an unknown speaker; numbers out of range.
    """
    if not 1 <= shortest <= longest <= MOST_WORDS:
        raise UserError(f"shortest={shortest}, longest={longest}; expected 1 <= shortest <= longest <= {MOST_WORDS}")
    if not RATES[0] <= rate <= RATES[1]:
        raise UserError(f"rate={rate}; expected {RATES[0]} to {RATES[1]} samples a second")
    if not 1 <= bands <= frequencies(rate):
        raise UserError(f"bands={bands}; expected 1 to {frequencies(rate)}, the frequencies of a frame at rate={rate}")

    def read(rows: Dataset) -> list[Recording]:
        frames = [log_mel(samples, rate, bands) for samples in recordings(rows, audio, "sampling_rate", rate, data)]
        speakers = [name for name, _ in label_names(rows, speaker, data)] if by_speaker else [""] * len(rows)
        return [Recording(*each) for each in zip(frames, label_names(rows, label, data), speakers)]

    by_speaker = {"speaker": speaker} if strings or held_out_speaker is not None else {}
    splits = wav_folder(data, audio, label) or load(data, audio=audio, label=label, **by_speaker)
    if by_speaker and speaker not in splits["train"].column_names:
        raise UserError(f"data={data!r}: a folder of wav files does not tell who speaks; expected a column {speaker!r}")
    train, test = train_and_test(splits, read, tested_on, test_share, data)
    if held_out_speaker is not None:
        both = train + test
        train, test = ([r for r in both if (r.speaker == held_out_speaker) == held] for held in (False, True))
        if not train or not test:
            known = ", ".join(sorted({each.speaker for each in both}))
            raise UserError(f"held_out_speaker={held_out_speaker!r}; expected one of several speakers: {known}")
    names, words = numbered_labels([each.word for each in train], [each.word for each in test])
    if not strings:
        require_several(names, label, data)
    steps = np.concatenate([each.frames for each in train])
    mean, deviation = moments(steps)
    frames = [standardized([each.frames for each in rows], mean, deviation) for rows in (train, test)]

    coding = (tuple(names), tuple(mean), tuple(deviation))

    def batch(picked: Spoken) -> Batch:
        exist = jnp.ones(picked.words.shape) if not strings else picked.words > 0
        return Batch(jnp.swapaxes(picked.frames, 0, 1), picked.words.T, exist.T.astype(jnp.float32), picked.steps)

    def asked(heard: list[np.ndarray]) -> Batch:
        table, lengths = padded(standardized([log_mel(samples, rate, bands) for samples in heard], mean, deviation))
        said = np.zeros((len(heard), longest) if strings else len(heard), np.int32)
        return batch(Spoken(jnp.asarray(table), jnp.asarray(said), jnp.asarray(lengths)))

    def parse(paths: list[str]) -> Batch:
        """Of wav files that are named."""
        return asked(wav_files(paths, rate))

    def read_file(path: str) -> tuple[Batch, None]:
        rows = wav_rows(path, audio) or load_alone(path, audio=audio)
        return asked(recordings(rows, audio, "sampling_rate", rate, path)), None

    if strings:
        _require_frames(train + test, data)
        slowest = max(
            np.mean([len(rows[n].frames) for n in group]) for rows in (train, test) for group in _by_speaker(rows)
        )
        bound = int(max(1.5 * longest * len(steps) / len(train), shortest * slowest))
        parts = [
            Streamed(count, _joiner(rows, each, kinds + 1, (shortest, longest), bound, seed))
            for seed, (count, rows, each, kinds) in enumerate(
                zip((TRAIN_STRINGS, TEST_STRINGS), (train, test), frames, words)
            )
        ]
        return stored_task(
            Examples(*parts, batch),
            string_loss,
            strings_right,
            "the word error rate",
            coding=coding,
            input_size=bands,
            output_size=1 + len(names),
            baseline=entropy(words[0], _as_drawn(train)),
            answer=lambda outputs, batch: best_path(outputs, batch, len(outputs)),  # all, as one too many is an error
            parse=parse,
            read=read_file,
            spell=lambda batch, said, number: [names[int(n) - 1] for n in np.asarray(said)[:, number] if n],
            grade=lambda truth, said, steps: {"word error rate": word_error_rate(truth, said)},
        )
    train, test = (
        Spoken(jnp.asarray(table), jnp.asarray(kinds), jnp.asarray(lengths))
        for (table, lengths), kinds in zip(map(padded, frames), words)
    )
    return stored_task(
        Examples(train, test, batch, lambda picked: picked.steps, cuts(np.asarray(train.steps), WORD_CUTS)),
        cross_entropy,
        accuracy,
        "the share of recordings that are right",
        coding=coding,
        input_size=bands,
        output_size=len(names),
        baseline=entropy(words[0]),
        readout="last",
        parse=parse,
        read=read_file,
        spell=lambda batch, said, number: [names[int(np.asarray(said)[number])]],
        grade=lambda truth, said, steps: {"accuracy": share_of_right(truth, said)},
    )


def _require_frames(rows: list[Recording], data: str) -> None:
    """Raise UserError where a string might have no alignment: a word twice in a row needs a blank between."""
    least = min(rows, key=lambda each: len(each.frames))
    if len(least.frames) < LEAST_FRAMES:
        raise UserError(
            f"data={data!r}: a recording of {least.word[0]!r} has {len(least.frames)} frame of 16 ms; expected "
            f"{LEAST_FRAMES} at least for strings=True, a word and what parts it from the next"
        )


def _by_speaker(rows: list[Recording]) -> list[np.ndarray]:
    """The numbers of each speaker's recordings."""
    found = {}
    for n, each in enumerate(rows):
        found.setdefault(each.speaker, []).append(n)
    return [np.array(found[name]) for name in sorted(found)]


def _as_drawn(rows: list[Recording]) -> np.ndarray:
    """How often strings draw each recording, up to a factor: every speaker as often."""
    _, speaker, count = np.unique([each.speaker for each in rows], return_inverse=True, return_counts=True)
    return 1 / count[speaker]


def _joiner(
    rows: list[Recording],
    frames: list[np.ndarray],
    words: np.ndarray,
    sizes: tuple[int, int],
    bound: int,
    seed: int,
) -> Callable[[np.ndarray], Spoken]:
    """What makes the strings of given numbers: each is a pure function of its number."""
    groups = _by_speaker(rows)

    def one(number: int) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng([seed, number])
        while True:
            group = groups[draw.integers(len(groups))]
            chosen = group[draw.integers(len(group), size=draw.integers(sizes[0], sizes[1] + 1))]
            if sum(len(frames[n]) for n in chosen) <= bound:
                return np.concatenate([frames[n] for n in chosen]), words[chosen]

    def read(numbers: np.ndarray) -> Spoken:
        table = np.zeros((len(numbers), bound, frames[0].shape[1]), np.float32)
        said, steps = np.zeros((len(numbers), sizes[1]), np.int32), np.zeros(len(numbers), np.int32)
        for n, number in enumerate(numbers):
            joined, string = one(int(number))
            table[n, : len(joined)], said[n, : len(string)], steps[n] = joined, string, len(joined)
        return Spoken(table, said, steps)

    return read

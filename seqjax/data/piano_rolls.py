"""Polyphonic music: from the notes that sound at each step, which of 88 will sound at the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.data import notes
from seqjax.data.loading import is_list, load, test_split
from seqjax.data.stored import stored_task
from seqjax.data.text import cuts
from seqjax.tasks.scoring import masked_mean
from seqjax.tasks.showing import length
from seqjax.types import Array, Batch, Continuation, Examples, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

SHOWN = 24  # steps
PIECE_CUTS = 6  # lengths at which batches are cut, a program for each


class Pieces(NamedTuple):
    """Pieces, each as long as the longest, with silence at the end."""

    frames: Array  # [N, T + 1, 11] uint8, eight notes a byte
    steps: Array  # [N] int32: how many frames have one before them


def piano_rolls(
    data: str,
    column: str = "notes",
    cut: int | None = None,
    tested_on: Literal["test", "validation"] = "test",
) -> Task:
    """Predict frame t + 1 of a piece from its frames up to t: 88 notes, each on or off.

    The loss is the negative log-likelihood of a frame in nats, the notes independent given the past:
    -Σ_n log p(note n), a mean over all frames of all pieces but each one's first. So is the published
    number counted for JSB chorales and Nottingham. (Boulanger-Lewandowski, Bengio & Vincent 2012; Bai,
    Kolter & Koltun 2018)

    Baseline: of a guess that knows how often each note sounds, and nothing else: Σ_n h(p_n), on the
    training frames. Solved: never; the papers compare the number itself.
    The score is the frame-level accuracy of Bay et al. 2009, notes rightly on / (rightly on + wrongly on
    + missed), with those on whose chance is above 1/2; here a mean over frames, not a ratio of sums.

    A batch is of pieces of about the same length, as they differ much (Nottingham: mean 254, longest 1,793).

    Args:
        data: a local folder whose files' names give the splits (train.jsonl, test.jsonl), or a name
            on the Hugging Face hub.
        column: name of the column that holds, for each piece, a list over time of lists of MIDI numbers,
            21 to 108; an empty list is silence.
        cut: pieces to train on are cut into stretches of at most so many steps, each read from a
            fresh state; None for whole pieces. The pieces to test on are never cut.
        tested_on: the split that evaluation reads.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; anything but lists of
            lists of whole numbers from 21 to 108; no piece of two frames; a cut below 1.
    """
    if cut is not None and cut < 1:
        raise UserError(f"cut={cut}; expected at least 1")
    splits = load(data, column=column)
    rolls = [_read(rows, column, data) for rows in (splits["train"], test_split(splits, tested_on, data))]
    share = np.concatenate([roll[1:] for roll in rolls[0]]).mean(0)
    heard = share[(share > 0) & (share < 1)]
    baseline = float(-np.sum(heard * np.log(heard) + (1 - heard) * np.log1p(-heard)))
    train, test = _pieces(_stretches(rolls[0], cut)), _pieces(rolls[1])

    def batch(pieces: Pieces) -> Batch:
        frames = jnp.unpackbits(jnp.swapaxes(pieces.frames, 0, 1), axis=-1, count=notes.NOTES).astype(jnp.float32)
        exists = jnp.arange(len(frames) - 1)[:, None] < pieces.steps
        return Batch(frames[:-1] * exists[..., None], frames[1:], exists.astype(jnp.float32), pieces.steps)

    def draw(key: Array, outputs: Array, before: Array, narrow: Callable[[Array], Array]) -> Array:
        on_or_off = narrow(jnp.stack([jnp.zeros_like(outputs), outputs], -1))
        return jax.random.categorical(key, on_or_off).astype(jnp.float32)

    return stored_task(
        Examples(train, test, batch, lambda pieces: pieces.steps, cuts(np.asarray(train.steps), PIECE_CUTS)),
        frame_loss,
        frame_accuracy,
        input_size=notes.NOTES,
        output_size=notes.NOTES,
        baseline=baseline,
        show=_show,
        continuation=Continuation(
            lambda text: jnp.asarray(notes.frames(notes.CHORD if text is None else text))[:, None],
            draw,
            lambda frames: "\n".join(f"step {t:>3}   {notes.names(frame)}" for t, frame in enumerate(frames, 1)),
            ".mid",
            notes.midi,
        ),
    )


def frame_loss(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of -Σ_n log p(note n), with p = sigmoid(output)."""
    return masked_mean(jnp.sum(optax.sigmoid_binary_cross_entropy(outputs, batch.targets), -1), batch.mask)


def frame_accuracy(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of |on and said| / |on or said|; 1 where both are silent."""
    on, said = batch.targets > 0, outputs > 0
    both, either = jnp.sum(on & said, -1), jnp.sum(on | said, -1)
    return masked_mean(jnp.where(either > 0, both / jnp.maximum(either, 1), 1.0), batch.mask)


def _read(rows: Dataset, column: str, data: str) -> list[np.ndarray]:
    """The pieces of a split of two frames and more, each [T, 88] of 0 and 1."""
    import pyarrow as pa

    at = f"data={data!r}: column {column!r} of split {str(rows.split)!r}"
    expected = f"expected lists over time of lists of {notes.RANGE}"
    pieces = rows.with_format("arrow")[:][column].combine_chunks()
    if not (is_list(pieces.type) and is_list(pieces.type.value_type)):
        raise UserError(f"{at} holds {pieces.type}; {expected}")
    frames = pieces.flatten()
    sounding = frames.flatten()
    if pieces.null_count or frames.null_count or sounding.null_count:
        raise UserError(f"{at} has missing values; {expected}")
    if len(sounding) and not pa.types.is_integer(sounding.type):
        raise UserError(f"{at} holds lists of lists of {sounding.type}; {expected}")
    pitches = sounding.to_numpy(zero_copy_only=False).astype(np.int64)
    if len(wrong := pitches[(pitches < notes.LOWEST) | (pitches >= notes.LOWEST + notes.NOTES)]):
        raise UserError(f"{at} holds {wrong[0]}; {expected}")
    roll = np.zeros((len(frames), notes.NOTES), np.uint8)
    roll[np.repeat(np.arange(len(frames)), _lengths(frames)), pitches - notes.LOWEST] = 1
    found = [piece for piece in np.split(roll, np.cumsum(_lengths(pieces))[:-1]) if len(piece) > 1]
    if not found:
        raise UserError(f"{at} has no piece of two steps; expected at least one")
    return found


def _lengths(lists: object) -> np.ndarray:
    import pyarrow.compute as pc

    return pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)


def _stretches(rolls: list[np.ndarray], cut: int | None) -> list[np.ndarray]:
    """Each piece in stretches of `cut` predictions, the first frame of one being the last of that before."""
    if cut is None:
        return rolls
    return [roll[start : start + cut + 1] for roll in rolls for start in range(0, len(roll) - 1, cut)]


def _pieces(rolls: list[np.ndarray]) -> Pieces:
    frames = np.zeros((len(rolls), max(map(len, rolls)), (notes.NOTES + 7) // 8), np.uint8)
    for row, roll in zip(frames, rolls):
        row[: len(roll)] = np.packbits(roll, -1)
    return Pieces(jnp.asarray(frames), jnp.asarray([len(roll) - 1 for roll in rolls], jnp.int32))


def _show(batch: Batch, number: int) -> str:
    """The notes of the first steps by name, the next frame's beside them."""
    steps = length(batch, number)
    lines = []
    for t in range(min(steps, SHOWN)):
        now, then = (notes.names(np.asarray(frames)[t, number]) for frames in (batch.inputs, batch.targets))
        lines.append(f"step {t + 1:>3}   {now:<28} next {then}")
    if steps > SHOWN:
        lines.append(f"(and {steps - SHOWN} more steps)")
    return "\n".join(line.rstrip() for line in lines)

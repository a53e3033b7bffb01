"""Frames of notes as a person and a player read them: by name, and as a MIDI file."""

from __future__ import annotations

import io

import numpy as np

from seqjax.types import UserError

NOTES = 88
LOWEST = 21  # the MIDI number of a piano's lowest note, A0
RANGE = f"MIDI numbers from {LOWEST} to {LOWEST + NOTES - 1}"
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
TICKS, BEATS_A_MINUTE, VELOCITY = 480, 90, 64
CHORD = "48 55 64 72"  # C major in four voices


def names(frame: np.ndarray) -> str:
    """The notes of a frame [88], as in 'C3 G3 E4'; '-' for silence."""
    pitches = np.flatnonzero(frame) + LOWEST
    return " ".join(f"{NAMES[pitch % 12]}{pitch // 12 - 1}" for pitch in pitches) or "-"


def frames(text: str) -> np.ndarray:
    """Frames [T, 88] float32 of MIDI numbers with spaces between them, frames apart by commas: '60 64 67, 60 65 69'.

    Raises:
        UserError: what is no number of a piano's note.
    """
    parts = text.split(",")
    table = np.zeros((len(parts), NOTES), np.float32)
    for row, part in zip(table, parts):
        for number in part.split():
            if not number.isdecimal() or not LOWEST <= int(number) < LOWEST + NOTES:
                raise UserError(
                    f"{number!r}; expected MIDI numbers from {LOWEST} to {LOWEST + NOTES - 1}: '60 64 67, 65'"
                )
            row[int(number) - LOWEST] = 1
    return table


def midi(piece: np.ndarray) -> bytes:
    """A piece [T, 88] as a MIDI file, a frame a quarter note; a note that sounds in the next frame too is held.

    Frames do not say which notes are struck anew, so that repeated ones become long ones.

    Raises:
        UserError: mido is missing.
    """
    try:
        import mido
    except ImportError as error:
        raise UserError("a MIDI file needs mido: pip install 'seqjax[apps]'") from error
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_A_MINUTE))])
    silent = np.zeros((1, piece.shape[1]), bool)
    changes = np.diff(np.concatenate([silent, piece > 0, silent]).astype(int), axis=0)
    waited = 0
    for change in changes:
        for kind, sign in (("note_off", -1), ("note_on", 1)):
            for pitch in np.flatnonzero(change == sign) + LOWEST:
                track.append(mido.Message(kind, note=int(pitch), velocity=VELOCITY, time=waited))
                waited = 0
        waited += TICKS
    track.append(mido.MetaMessage("end_of_track", time=waited - TICKS))  # the last frame of silence is its end
    written = io.BytesIO()
    mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]).save(file=written)
    return written.getvalue()

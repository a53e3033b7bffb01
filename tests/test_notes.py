"""Notes: their names, what a person types, and MIDI files that another library reads back."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import UserError
from seqjax.data import notes


def test_names_and_what_is_typed():
    frames = notes.frames("21 60 108,, 61")
    assert [notes.names(frame) for frame in frames] == ["A0 C4 C8", "-", "C#4"]
    for wrong in ("20", "109", "sixty", "-60"):
        with pytest.raises(UserError, match=f"'{wrong}'; expected MIDI numbers from 21 to 108"):
            notes.frames(wrong)


def test_midi_is_read_back():
    """What sounds at each quarter note, by mido's own clock, is what the frames say; held notes are one note."""
    mido = pytest.importorskip("mido")
    piece = (np.random.default_rng(0).random((9, 88)) < 0.1).astype(np.float32)
    piece[3] = 0
    piece[4:7, 40] = 1
    file = mido.MidiFile(file=io.BytesIO(notes.midi(piece)))
    found, sounding, tick = np.zeros_like(piece), set(), 0
    for message in file.tracks[0]:
        for frame in range(-(-tick // 480), -(-(tick + message.time) // 480)):
            found[frame, list(sounding)] = 1
        tick += message.time
        if message.type == "note_on":
            sounding.add(message.note - 21)
        elif message.type == "note_off":
            sounding.remove(message.note - 21)
    assert not sounding and tick == 9 * 480
    np.testing.assert_array_equal(found, piece)
    ons = sum(message.type == "note_on" and message.note == 61 for message in file.tracks[0])
    assert ons == np.sum(np.diff(piece[:, 40], prepend=0) > 0)
    assert mido.MidiFile(file=io.BytesIO(notes.midi(np.zeros((2, 88))))).length > 0


def test_notes_are_drawn_each_by_its_chance(tmp_path):
    from seqjax.data.piano_rolls import piano_rolls

    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text('{"notes": [[60], [62], [60, 64]]}\n')
    way = piano_rolls(str(tmp_path)).continuation
    assert way.prompt(None).shape == (1, 1, 88) and way.spell(np.asarray(way.prompt("60"))[:, 0]) == "step   1   C4"
    logits = jnp.linspace(-3, 3, 88)[None]
    draw = jax.jit(lambda keys, scale: jax.vmap(lambda k: way.draw(k, logits, None, lambda x: x * scale)[0])(keys))
    keys = jax.random.split(jax.random.key(0), 3000)
    for scale in (1.0, 4.0):
        np.testing.assert_allclose(draw(keys, scale).mean(0), 1 / (1 + np.exp(-scale * logits[0])), atol=0.05)

"""Moving images: every frame by hand, what is asked of them, the convolution, and films that a network foresees."""

import functools
import json

import jax
import numpy as np
import pytest

from experiments import generate, predict, train
from seqjax import UserError
from seqjax.data.images import grey
from seqjax.data.video import WAYS, video
from seqjax.models.images import ImageEncoder
from seqjax.models.sequence import sequence_model
from seqjax.spec import build

H, W, SIZE, FRAMES = 4, 6, 8, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images of 4 by 6 pixels, 3 to train on and 5 to test on."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 5)):
        lines = [{"image": rng.integers(0, 256, (H, W)).tolist(), "label": n % 3} for n in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def film_of(folder, clips, number):
    """The frames of a clip to test on, pixel by pixel, and its label."""
    row = json.loads((folder / "test.jsonl").read_text().splitlines()[number])
    image, frames = np.array(row["image"]), np.zeros((FRAMES, SIZE, SIZE))
    down, right = list(WAYS.values())[int(clips.way[number])]
    for t in range(FRAMES):
        for y in range(H // 2):
            for x in range(W // 2):
                shade = np.round(image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()) / 255
                place = int(clips.start[number][0]) + y + t * down, int(clips.start[number][1]) + x + t * right
                assert min(place) >= 0
                frames[(t, *place)] = shade
    return frames.reshape(FRAMES, -1), row["label"]


def test_every_frame_is_where_it_should_be(data):
    task = video(str(data), frames=FRAMES, size=SIZE)
    clips = task.examples.test
    batch = task.examples.batch(clips)
    for number in range(5):
        film, label = film_of(data, clips, number)
        np.testing.assert_allclose(batch.inputs[:, number], film, atol=1e-6)
        assert batch.targets[number].tolist() == [label, int(clips.way[number])]
        (said,) = task.spell(batch, batch.targets, number)
        assert said == f"{label} {list(WAYS)[int(clips.way[number])]}"
        assert task.show(batch, number).endswith(f"truth    {said}")
    assert task.baseline == pytest.approx(np.log(3) + np.log(8))


def test_both_must_be_right(data):
    task = video(str(data), frames=FRAMES, size=SIZE)
    batch = task.examples.batch(task.examples.test)
    label, way = np.eye(3)[batch.targets[:, 0]], np.eye(8)[batch.targets[:, 1]]
    right = np.concatenate([label, way], 1) * 50
    assert float(task.loss(right, batch)) < 1e-6 and float(task.score(right, batch)) == 1
    right[0], right[1, 3:] = 0, 0  # nothing known of one, only the label of another
    right[0, [2, 10]] = right[1, 3 + (int(batch.targets[1, 1]) + 1) % 8] = 1e-3
    assert float(task.score(right, batch)) == pytest.approx(3 / 5)
    assert float(task.loss(right, batch)) == pytest.approx((np.log(3) + 2 * np.log(8)) / 5, rel=1e-3)
    answers = task.answer(right, batch)
    truth, said = ([task.spell(batch, each, n) for n in range(5)] for each in (batch.targets, answers))
    assert task.grade(truth, said, [FRAMES] * 5) == {"label and way": pytest.approx(3 / 5)}


def test_the_next_frame_and_what_simple_guesses_reach(data):
    task = video(str(data), asks="next", frames=FRAMES, size=SIZE)
    clips = task.examples.test
    batch = task.examples.batch(clips)
    films = np.stack([film_of(data, clips, n)[0] for n in range(5)], 1)
    np.testing.assert_allclose(batch.inputs, films[:-1], atol=1e-6)
    np.testing.assert_allclose(batch.targets, films[1:], atol=1e-6)
    assert task.peers["the frame before"] == pytest.approx(float(task.loss(batch.inputs, batch)), rel=1e-5)
    trained = task.examples.batch(task.examples.train)
    guess = np.full_like(trained.targets, trained.targets.mean())
    assert task.baseline == pytest.approx(float(task.loss(guess, trained)), rel=1e-5)
    np.testing.assert_allclose(task.continuation.prompt("3")[:, 0], films[:2, 3], atol=1e-6)


def test_what_is_transparent_is_no_shade():
    """Of an image with a channel that says how opaque the others are."""
    colours = np.array([[30, 60, 90], [200, 200, 200]], np.uint8)
    opaque = np.array([255, 51], np.uint8)[:, None]
    np.testing.assert_allclose(grey(colours), [60, 200])
    np.testing.assert_allclose(grey(np.concatenate([colours, opaque], 1)), [60, 40])
    np.testing.assert_allclose(grey(np.concatenate([colours[:, 1:2], opaque], 1)), [60, 40])
    np.testing.assert_allclose(grey(np.concatenate([colours, opaque], 1) / np.float32(255)), [60 / 255, 40 / 255], 1e-6)


def test_images_in_folders_are_told_by_their_names(tmp_path):
    from PIL import Image

    for name in ("10", "cat"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for n in range(3):
            image = Image.fromarray(np.full((4, 4, 4), (80, 80, 80, 255), np.uint8))
            image.save(tmp_path / "train" / name / f"{n}.png")
    task = video(str(tmp_path), frames=FRAMES, size=SIZE, test_share=0.5)
    batch = task.examples.batch(task.examples.test)
    assert {task.spell(batch, batch.targets, n)[0].split()[0] for n in range(3)} == {"10", "cat"}
    assert float(batch.inputs.max()) == pytest.approx(80 / 255)


@pytest.mark.parametrize("frames", [3, 4])
def test_the_middle_tells_nothing_of_the_way_and_nothing_leaves_the_frame(frames):
    """Middles and ways are drawn apart, evenly: chi-square of both together."""
    from seqjax.data.images import LabelledImages
    from seqjax.data.video import _clips

    half, size = frames // 2, 3 + 2 * (frames // 2)
    images = LabelledImages(np.ones((8000, 2, 2, 1), np.uint8), np.zeros(8000, np.int32))
    clips = _clips(images, 1, size, frames, 0)
    way = np.array(list(WAYS.values()))[np.asarray(clips.way)]
    places = np.asarray(clips.start) + np.arange(frames)[:, None, None] * way
    assert places.min() == 0 and places.max() == size - 2
    table = np.zeros((8, 4))
    np.add.at(table, (np.asarray(clips.way), (places[(frames - 1) // 2] - half) @ [2, 1]), 1)
    assert np.sum((table - 250) ** 2 / 250) < 61.1  # 31 degrees of freedom, p = .001


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"frames": 1}, "frames=1; expected at least 2"),
        ({"shrink": 0}, "shrink=0; expected at least 1"),
        ({"size": 12}, "size=12: images of 2 by 3 pixels leave it in 10 frames; expected 13 or more"),
        ({"shrink": 9}, "shrink=9: images of 0 by 0 pixels would be left"),
        ({"label_column": "class"}, "label_column='class'"),
    ],
)
def test_bad_settings_are_named(arguments, words, data):
    with pytest.raises(UserError) as error:
        video(str(data), **arguments)
    assert words in str(error.value)


def test_the_convolution_is_the_sum_it_should_be(float64):
    """Of an image of 4 by 4 pixels, by loops: two convolutions of stride 2, then a linear layer."""
    encoder, image = ImageEncoder((4, 4, 1), 3), np.random.default_rng(0).normal(size=(2, 16))
    params = encoder.init(jax.random.key(0), image)

    def halved(image, kernel, bias):
        """Zeros around it where the window stands over: below and to the right first, as 'SAME' of even sizes."""
        size = len(image)
        padded = np.zeros((size + 1, size + 1, image.shape[2]))
        padded[:size, :size] = image
        out = np.zeros((size // 2, size // 2, len(bias)))
        for y in range(size // 2):
            for x in range(size // 2):
                seen = padded[2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
                out[y, x] = np.maximum(np.einsum("yxi,yxio->o", seen, kernel) + bias, 0)
        return out

    layers = params["params"]
    for vector, found in zip(image, encoder.apply(params, image)):
        once = halved(vector.reshape(4, 4, 1), *(np.asarray(layers["Conv_0"][name]) for name in ("kernel", "bias")))
        twice = halved(once, *(np.asarray(layers["Conv_1"][name]) for name in ("kernel", "bias")))
        expected = twice.reshape(-1) @ np.asarray(layers["Dense_0"]["kernel"]) + np.asarray(layers["Dense_0"]["bias"])
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_convolution_is_there_where_a_width_is_given():
    from seqjax import cells
    from seqjax.types import Cell

    cell = build("rnn(hidden=2)", [cells], Cell)

    def read(images, embedding):
        model = sequence_model(cell, 16, 2, image=(4, 4, 1), embedding=embedding)
        return model.encode(model.init(jax.random.key(0)), images)

    for embedding, wide in ((None, 16), (3, 3)):
        shape = jax.eval_shape(functools.partial(read, embedding=embedding), np.zeros((5, 2, 16), np.float32))
        assert shape.shape == (5, 2, wide)
    with pytest.raises(UserError, match="inputs are vectors"):
        sequence_model(cell, 16, 2, embedding=3)


FLAGS = ["--cell=rnn(hidden=3)", "--steps=2", "--eval_every=2", "--batch_size=2", "--eval_size=2"]
FLAGS += ["--probe_size=2"]


@pytest.mark.parametrize(("asks", "embedding"), [("kind", ["--embedding=2"]), ("next", [])])
def test_trained_and_asked(asks, embedding, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.preemption.show_report", lambda directory: None)
    run, spec = tmp_path / "run", f"--task=video(data='{data}', asks='{asks}', frames={FRAMES}, size={SIZE})"
    assert train.main([*FLAGS, *embedding, spec, f"--workdir={run}"]) == 0
    capsys.readouterr()
    assert predict.main([str(run)]) == 0
    out, figure = capsys.readouterr().out, {"kind": "confusion", "next": "frames"}[asks]
    assert (run / "answers-0" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    if asks == "kind":
        assert "truth" in out and "label and way" in out
        return
    assert "the frame before" in out
    assert generate.main([str(run), "--prompt=4"]) == 0
    assert "steps 0, 1, 2, 3" in capsys.readouterr().out
    assert generate.main([str(run), "--prompt=5"]) == 2
    assert "from 0 to 4" in capsys.readouterr().err

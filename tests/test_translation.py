"""Translation: pairs of sentences, their grades, and a translator that is trained and then answers."""

import json

import numpy as np
import pytest
from small_data import complaint
from test_text import whole

from seqjax.data.translation import bleu, translation
from seqjax.types import UserError

PAIRS = [("a b c", "x y"), ("b a", "y x z"), ("c", "z"), ("a c b a", "x z y x")]


def sentences(folder, train=PAIRS, test=PAIRS[:2], names=("en_tok", "de_tok")):
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        lines = [json.dumps(dict(zip(names, row))) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def test_a_pair_is_what_is_read_and_what_is_written(tmp_path):
    task = translation(sentences(tmp_path / "d", test=[("a q", "x w")]))
    batch = whole(task)
    reads, writes = ["<unk>", "a", "b", "c"], ["<end>", "<begin>", "<unk>", "x", "y", "z"]
    assert (task.input_size, task.output_size, task.readout) == (4, 6, "decode")
    for b, (source, target) in enumerate(PAIRS):
        tokens = [*target.split(), "<end>"]
        assert [reads[n] for n in batch.inputs.source[: batch.lengths[b], b]] == source.split()
        assert [writes[n] for n in batch.targets[: len(tokens), b]] == tokens
        assert [writes[n] for n in batch.inputs.said[: len(tokens), b]] == ["<begin>", *tokens[:-1]]
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(len(batch.mask)) < len(tokens))
        assert task.spell(batch, batch.targets, b) == target.split()
    test = whole(task, "test")
    assert test.inputs.source[:2, 0].tolist() == [1, 0] and test.targets[:3, 0].tolist() == [3, 2, 0]
    steps = task.examples.steps(task.examples.train)
    np.testing.assert_array_equal(steps, [3, 4, 2, 5])
    counts = np.array([4, 3, 3, 4])  # x, y, z and the ends
    share = counts / counts.sum()
    assert task.baseline == pytest.approx(-(share * np.log(share)).sum())
    parsed = task.parse(["b q a", "c"])
    assert parsed.inputs.source.T.tolist() == [[2, 0, 1], [3, 0, 0]] and parsed.lengths.tolist() == [3, 1]
    assert task.show(batch, 0).splitlines() == ["source   a b c", "target   x y"]


def test_words_are_those_of_the_rows_to_train_on(tmp_path):
    """However often others occur in the rows to test on, on either side."""
    train, test = [*PAIRS, ("r", "v")], [("q q q r r", "w w w v v"), ("c", "z")]
    task = translation(sentences(tmp_path / "d", train, test))
    batch = whole(task, "test")
    assert (task.input_size, task.output_size) == (4, 6)
    assert batch.inputs.source[:5, 0].tolist() == [0] * 5 and batch.targets[:6, 0].tolist() == [2] * 5 + [0]
    assert batch.inputs.source[0, 1] == 3 and batch.targets[:2, 1].tolist() == [5, 0]


def test_translations_are_graded_by_sacrebleu(tmp_path):
    pytest.importorskip("sacrebleu")
    truth = [["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "f"]]
    assert bleu(truth, truth, [5, 12])["BLEU"] == pytest.approx(100)
    scores = bleu(truth, [truth[0], ["a", "b", "x", "d", "f"]], [5, 12])
    assert list(scores) == ["BLEU", "BLEU 1-10", "BLEU 11-15"]
    right = [9 / 10, 6 / 8, 3 / 6, 2 / 4]  # of all n-grams, those that are there, n = 1 to 4
    assert scores["BLEU"] == pytest.approx(100 * np.prod(right) ** 0.25)
    assert scores["BLEU 1-10"] == pytest.approx(100)


@pytest.mark.parametrize("word", ["now.", "don't,", "(now", "&quot;"])
def test_what_stands_between_spaces_is_one_token_to_bleu(word):
    """With a mark or another, it is one wrong word of six; it would count otherwise were marks their own tokens."""
    pytest.importorskip("sacrebleu")
    words, other = ["so", "you", "see", "we", "pay"], {"&quot;": '"'}.get(word, word.strip(".,("))
    right = [5 / 6, 4 / 5, 3 / 4, 2 / 3]  # of all n-grams, those that are there, n = 1 to 4
    score = bleu([[*words, word]], [[*words, other]], [6])["BLEU"]
    assert score == pytest.approx(100 * np.prod(right) ** 0.25)


def test_bad_pairs_are_told_by_their_number(tmp_path):
    where = sentences(tmp_path / "d", [*PAIRS, ("a", " ")])
    assert "row 4 of column 'de_tok' of split 'train' holds ' '; expected a text" in complaint(translation, data=where)
    where = sentences(tmp_path / "e")
    text = complaint(translation, data=where, longest=3)
    assert "row 3 of column 'en_tok' of split 'train' has 4 tokens" in text
    assert "source='de': data=" in complaint(translation, data=where, source="de")
    where = sentences(tmp_path / "f", [*PAIRS, ("a", "y")])
    for count, column in ((6, "en_tok"), (5, "de_tok")):  # a occurs 5 times, x and y 4 times
        assert f"min_count={count}: no word of column {column!r} occurs so often in the rows to train on" in complaint(
            translation, data=where, min_count=count
        )


def test_a_translator_is_trained_and_then_answers(tmp_path, capsys):
    """Two steps with dropout and a teacher who gives less and less; then the test split, and a text typed."""
    from experiments import predict
    from experiments.samples import sample
    from seqjax.training import Config, prepare, train
    from seqjax.training.prediction import restore

    pytest.importorskip("sacrebleu")
    alike = [("a b", "x y"), ("b a", "y x"), ("a c", "z x"), ("c b", "z z")]
    where = sentences(tmp_path / "d", alike, alike)
    config = Config(
        cell="rnn(hidden=3)", task=f"translation(data={where!r})", embedding=2, steps=2, batch_size=2, eval_every=1,
        eval_size=2, probe_size=1, input_dropout=0.2, beam=2, strategy="scan",
        teacher_forcing="linear_schedule(end_value=0.5, transition_steps=2)",
    )  # fmt: skip
    result = train(prepare(config, "map"), tmp_path / "run", command="")
    assert result["runs"][0]["steps"] == 2 and np.isfinite(result["runs"][0]["loss"])
    assert predict.main([str(tmp_path / "run"), "--samples=1"]) == 0
    said = capsys.readouterr().out
    assert "source   " in said and "answer   " in said and "BLEU " in said
    assert "BLEU" in json.loads((tmp_path / "run" / "grades-0.json").read_text())
    assert predict.main([str(tmp_path / "run"), "--text=a b", "--text=c"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and set(" ".join(lines).split()) <= {"x", "y", "z"}
    assert predict.main([str(tmp_path / "run"), "--run=1"]) == 2
    assert "--run=1; " in capsys.readouterr().err
    assert predict.main([str(tmp_path)]) == 2 and "expected a run directory" in capsys.readouterr().err
    with pytest.raises(UserError, match="writes no sequence"):
        prepare(Config(cell="rnn(hidden=3)", task="adding", teacher_forcing="constant_schedule(value=0.5)"))
    with pytest.raises(UserError, match=r"--around_scale=0.1: --task=.* writes, by parts that begin as Flax has them"):
        prepare(config._replace(around_scale=0.1))
    with pytest.raises(UserError, match=r"--online: --task=.* is not asked at every step"):
        prepare(config._replace(online=True, input_dropout=0.0))
    assert restore(tmp_path / "run")[0].config == config
    shown = sample(*restore(tmp_path / "run"))
    assert shown.words.count("source   ") == 3 and [figure.name for figure in shown.figures] == ["attention"]

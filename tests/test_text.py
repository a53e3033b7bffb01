"""Labelled sentences: what is read of words and characters, what bad rows are told."""

import itertools
import json

import jax
import numpy as np
import pytest
from small_data import complaint

from seqjax.cells.rnn import rnn
from seqjax.data.labels import numbered_labels
from seqjax.data.lexicon import ends
from seqjax.data.ner import entity_scores, ner
from seqjax.data.sentiment import sentiment, tokenized
from seqjax.data.tagging import share_right, tagging
from seqjax.data.text import vocabulary
from seqjax.models import sequence_model

ROWS = [
    ("The dog saw the cat", "D N V D N"),
    ("the cat ran", "D N V"),
    ("Rain", "N"),
    ("a dog ran away quickly today", "D N V R R R"),
    ("cat saw", "N V"),
    ("Cats ran", "N V"),
]


def sentences(folder, train=ROWS, test=ROWS[:2], names=("tokens", "upos"), ending="jsonl"):
    """A folder of the two splits; in csv the columns are texts with spaces."""
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", train), ("test", test)):
        if ending == "csv":
            lines = [",".join(names), *(f"{words},{tags}" for words, tags in rows)]
        else:
            split_up = lambda cell: cell.split() if isinstance(cell, str) else cell  # noqa: E731
            lines = [json.dumps({names[0]: split_up(words), names[1]: split_up(tags)}) for words, tags in rows]
        (folder / f"{split}.{ending}").write_text("\n".join(lines) + "\n")
    return str(folder)


def whole(task, split="train"):
    return jax.device_get(jax.jit(task.examples.batch)(getattr(task.examples, split)))


def normal(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_token_is_its_word_and_its_characters(tmp_path, ending):
    task = tagging(sentences(tmp_path / "d", ending=ending), characters=4)
    batch = whole(task)
    # Twice or more, in any case: cat 3, ran 3, the 3, dog 2, saw 2; the others are number 0.
    words = ["<unk>", "cat", "ran", "the", "dog", "saw"]
    assert (task.input_size, task.output_size) == (6, 4) and batch.inputs.shape == (6, 6, 5)
    alphabet = {}
    for b, (text, tags) in enumerate(ROWS):
        tokens = text.split()
        assert batch.lengths[b] == len(tokens)
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(6) < len(tokens))
        for t, token in enumerate(tokens):
            word = token.lower()
            assert batch.inputs[t, b, 0] == (words.index(word) if word in words else 0)
            read = ends(token, 4)
            for c, number in zip(read, batch.inputs[t, b, 1:]):
                assert alphabet.setdefault(c, number) == number and number >= 2
            assert not batch.inputs[t, b, 1 + len(read) :].any()
        assert task.spell(batch, batch.targets, b) == tags.split()
    assert len(set(alphabet.values())) == len(alphabet) and task.characters == 2 + len(alphabet | {"k": 0})
    assert ends("quickly", 4) == "quly" and ends("quickly", 5) == "quily" and ends("away", 4) == "away"


def test_words_alone_and_unknown_ones(tmp_path):
    """Without characters inputs are [T, B]; a word and a character that only the test rows have are 'unknown'."""
    where = sentences(tmp_path / "d", test=[("the żora ran", "D N X")])
    alone = tagging(where, characters=0)
    batch = whole(alone, "test")
    assert batch.inputs[:, 0].tolist() == [3, 0, 2] and alone.characters is None
    assert alone.output_size == 5 and alone.spell(batch, batch.targets, 0) == ["D", "N", "X"]  # X cannot be learned
    spelled = whole(tagging(where, characters=6), "test").inputs[1, 0]
    assert spelled[0] == 0 and spelled[1] == 1 and (spelled[2:5] > 1).all() and not spelled[5:].any()
    cased = tagging(where, lower=False, min_count=1)
    assert cased.input_size == 13  # The and the, Cats and cat
    shown = alone.show(batch, 0).splitlines()
    assert [line.split() for line in shown[1:]] == [["unknown", "?"], ["label", "D", "N", "X"]]


def test_the_baseline_is_the_loss_of_what_the_word_alone_tells_on_other_rows(tmp_path):
    rows = {"train": [("a a a b", "X X Y Z")], "test": [("a b c", "Y Z X"), ("a", "W")]}
    task = tagging(sentences(tmp_path / "d", **rows), min_count=1)
    often = {"W": 0.5 / 6, "X": 2.5 / 6, "Y": 1.5 / 6, "Z": 1.5 / 6}  # of four labels, one half more of each
    chances = [(1 + often["Y"]) / 4, (1 + often["Z"]) / 2, often["X"], often["W"] / 4]
    assert task.baseline == pytest.approx(-np.mean(np.log(chances)))


def test_one_file_holds_rows_out(tmp_path):
    sentences(tmp_path / "d")
    task = tagging(str(tmp_path / "d" / "train.jsonl"), test_share=0.3)
    assert (len(task.examples.train.steps), len(task.examples.test.steps)) == (4, 2)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([ROWS[0], ("a b", "D")], "row 1 of column 'upos' of split 'train' holds 1 labels for 2 tokens"),
        ([ROWS[0], ([], [])], "row 1 of column 'tokens' of split 'train' holds nothing"),
        ([ROWS[0], (["a", ""], ["D", "D"])], "row 1 of column 'tokens' of split 'train' holds an empty token"),
        (
            [ROWS[0], (None, ["D"])],
            "row 1 of column 'tokens' of split 'train' holds nothing; expected a list of tokens",
        ),
        ([([0.5], ["D"])], "row 0 of column 'tokens' of split 'train' holds a list of other things"),
    ],
)
def test_bad_rows_are_told_by_their_number(tmp_path, rows, says):
    assert says in complaint(tagging, data=sentences(tmp_path / "d", rows, rows))


def test_brackets_without_end_are_a_token(tmp_path):
    deep = "[" * 10**5
    task = tagging(sentences(tmp_path / "d", [(f"{deep} a", "D N")], [("a", "N")], ending="csv"), min_count=1)
    assert task.coding[0] == ("<unk>", deep, "a")


def test_columns_lengths_and_arguments_that_will_not_do(tmp_path):
    where = sentences(tmp_path / "d", names=("words", "pos"))
    assert "tokens='tokens': data=" in (text := complaint(tagging, data=where)) and "columns: words, pos" in text
    assert tagging(where, tokens="words", tags="pos").output_size == 4
    text = complaint(tagging, data=where, tokens="words", tags="pos", longest=5)
    assert "row 3 of column 'words' of split 'train' has 6 tokens; longest=5" in text
    with pytest.warns(UserWarning, match="1 of 6 rows cut to 5 tokens"):
        assert whole(tagging(where, tokens="words", tags="pos", longest=5, too_long="cut")).inputs.shape[0] == 5
    assert "no split 'validation'" in complaint(tagging, data=where, tokens="words", tags="pos", tested_on="validation")
    assert "characters=1" in complaint(tagging, data=where, tokens="words", tags="pos", characters=1)
    assert "min_count=0" in complaint(tagging, data=where, tokens="words", tags="pos", min_count=0)


def test_entities_are_graded_whole(tmp_path):
    truth, said = [["B-per", "I-per", "O", "B-loc"], ["O"]], [["B-per", "O", "O", "B-loc"], ["B-loc"]]
    pytest.importorskip("seqeval")
    scores = entity_scores(truth, said, [4, 1])
    assert scores["entity precision"] == pytest.approx(1 / 3) and scores["entity recall"] == 1 / 2
    assert scores["entity F1"] == pytest.approx(0.4) and scores["accuracy"] == share_right(truth, said) == 3 / 5
    rows = [("Ann saw Rome", "B-per O B-loc"), ("Rome", "B-loc")]
    where = sentences(tmp_path / "d", rows, rows, names=("tokens", "tags"))
    task = ner(where, min_count=1)
    batch = whole(task)
    spelled = [task.spell(batch, batch.targets, n) for n in range(2)]
    assert task.grade(spelled, spelled, [3, 1])["entity F1"] == 1
    for number, parts in enumerate(([[("Ann", "person")], rows], [rows, [("Ann", "person")]])):  # of whichever split
        where = sentences(tmp_path / str(number), *parts, names=("tokens", "tags"))
        assert "a label 'person'; expected O, B-... or I-..." in complaint(ner, data=where)


def test_a_vocabulary_begins_with_what_is_frequent():
    assert vocabulary(["b", "a", "c", "a", "b", "a", "d"], 2) == ["<unk>", "a", "b"]
    assert vocabulary(["b", "a", "b", "<unk>"], 1) == ["<unk>", "b", "a"]


def test_characters_make_the_most_that_each_filter_finds():
    """Against a loop by hand; what follows the characters, and a token without any, add nothing."""
    model = sequence_model(rnn(2), 5, 2, tokens=True, embedding=3, characters=7, character_width=4)
    leaves, form = jax.tree.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    params = jax.tree.unflatten(form, [np.float32(normal(n, leaf.shape)) for n, leaf in enumerate(leaves)])
    inputs = np.array([[[4, 2, 6, 3, 0, 0], [1, 0, 0, 0, 0, 0]]])
    vectors = np.asarray(jax.jit(model.encode)(params, inputs))
    around = jax.tree.map(np.asarray, params["around"])
    np.testing.assert_array_equal(vectors[..., :3], around["embed"]["embedding"][inputs[..., 0]])
    table, filters = around["spell"]["Embed_0"]["embedding"], around["spell"]["Conv_0"]
    padded = [np.zeros(32), *(table[c] for c in (2, 6, 3)), np.zeros(32)]
    found = [sum(padded[at + k] @ filters["kernel"][k] for k in range(3)) + filters["bias"] for at in range(3)]
    np.testing.assert_allclose(vectors[0, 0, 3:], np.maximum(np.max(found, 0), 0), rtol=2e-5, atol=1e-5)
    assert not vectors[0, 1, 3:].any()


def test_a_text_has_one_label(tmp_path):
    """Words in lower case and signs; labels by number or name; unknown labels and empty texts by their row."""
    texts = [("Good, isn't it?", 1), ("bad BAD it", 0), ("good it", 1)]

    def write(train, test=texts[:1], folders=itertools.count()):  # noqa: B008
        folder = tmp_path / f"d{next(folders)}"
        folder.mkdir()
        for split, rows in (("train", train), ("test", test)):
            lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
            (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        return str(folder)

    assert tokenized("Good, isn't it?") == ["good", ",", "isn't", "it", "?"]
    assert tokenized("isn’t e\u0301te\u0301, हिन्दी 👍🏽") == ["isn’t", "été", ",", "हिन्दी", "👍", "🏽"]
    assert len(tokenized("שָׁלוֹם")) == 1  # with its points
    task = sentiment(write(texts))
    batch = whole(task)  # it 3, bad and good 2
    read = [batch.inputs[:steps, b].tolist() for b, steps in enumerate(batch.lengths)]
    assert read == [[3, 0, 0, 1, 0], [2, 2, 1], [3, 1]]
    assert batch.targets.tolist() == [1, 0, 1] and batch.lengths.tolist() == [5, 3, 2]
    assert (task.readout, task.output_size, task.examples.cuts) == ("last", 2, (3, 5))
    assert task.baseline == pytest.approx(-(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3))
    assert [task.spell(batch, batch.targets, n) for n in range(3)] == [["1"], ["0"], ["1"]]
    assert task.parse(["so GOOD"]).inputs.T.tolist() == [[0, 3]]
    assert task.grade([["1"], ["0"]], [["1"], ["1"]], [1, 1]) == {"accuracy": 0.5}
    assert task.show(batch, 1).splitlines()[-1] == "label    0"
    spelled = sentiment(write(texts), characters=3)
    assert whole(spelled).inputs.shape == (5, 3, 4)
    text = complaint(sentiment, data=write(texts, [("fine", 2)]))
    assert "row 0 of column 'label' of split 'test' holds '2', which no row to train on has; labels: 0, 1" in text
    assert "row 1 of column 'text' of split 'train' holds ''" in complaint(sentiment, data=write([texts[0], ("", 1)]))


def test_labels_that_say_the_same_number_have_an_order():
    """The same in every process, whose hashes of texts differ: else a run would not know its own data again."""
    names = [zeros * "0" + "1" for zeros in range(8)]
    found, (train, _) = numbered_labels([(name, "") for name in names], [])
    assert found == names[::-1] and train.tolist() == [*range(8)][::-1]


def test_bytes_that_are_no_text_are_named(tmp_path):
    """JSON lines are read as whatever bytes they are; a library that decodes them later would end in a traceback."""
    where = sentences(tmp_path / "d")
    path = tmp_path / "d" / "test.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ran", b"r\xffn"))
    assert f"data={where!r}: column 'tokens' of split 'test' is damaged: List" in complaint(tagging, data=where)
    path.write_bytes(b'{"text": "fine", "label": 1}\n{"text": "f\xffne", "label": 1}\n')
    (tmp_path / "d" / "train.jsonl").write_text('{"text": "fine", "label": 1}\n')
    text = complaint(sentiment, data=where)
    assert f"data={where!r}: row 1 of column 'text' of split 'test' is damaged: Invalid UTF8" in text

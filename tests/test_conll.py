"""CoNLL files as people have them: Universal Dependencies, four columns with documents, two with tabs."""

import bz2

import pytest
from small_data import complaint
from test_text import whole

from seqjax.data.loading import load, load_alone
from seqjax.data.ner import ner
from seqjax.data.tagging import tagging

UNIVERSAL = """# sent_id = 1
# text = vámonos al mar
1-2	vámonos	_	_	_	_	_	_	_	_
1	vamos	ir	VERB	_	_	0	root	_	_
2	nos	nosotros	PRON	_	_	1	obj	_	_
2.1	ghost	_	VERB	_	_	_	_	_	_
3-4	al	_	_	_	_	_	_	_	_
3	a	a	ADP	_	_	5	case	_	_
4	el	el	DET	_	_	5	det	_	_
5	mar	mar	NOUN	_	_	1	obl	_	_

# sent_id = 2
1	New York	New York	PROPN	_	_	0	root	_	_

"""
FOUR = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC

# NN B-NP O
"""
TWO = "at\tO\n#worldcup\tB-event\n\t\n-LRB-\tO"


def test_universal_dependencies(tmp_path):
    """Words, without the ranges that contract them and without empty nodes; a token may hold a space."""
    for split in ("train", "dev"):
        (tmp_path / f"es_x-ud-{split}.conllu").write_text(UNIVERSAL, "utf-8")
    splits = load(str(tmp_path), tokens="tokens", tags="upos")
    assert list(splits) == ["train", "validation"]
    for rows in splits.values():
        assert rows[:]["tokens"] == [["vamos", "nos", "a", "el", "mar"], ["New York"]]
        assert rows[:]["upos"] == [["VERB", "PRON", "ADP", "DET", "NOUN"], ["PROPN"]]
        assert rows[:]["head"] == [["0", "1", "5", "5", "1"], ["0"]] and rows[0]["id"] == ["1", "2", "3", "4", "5"]
    task = tagging(str(tmp_path), tested_on="validation", min_count=1)
    batch = whole(task)
    assert task.spell(batch, batch.targets, 0) == ["VERB", "PRON", "ADP", "DET", "NOUN"]
    unlabelled, _ = task.read(str(tmp_path / "es_x-ud-dev.conllu"))
    assert unlabelled.lengths.tolist() == [5, 1]


@pytest.mark.parametrize("ending", [".conll", ".conll.bz2"])
def test_named_entities(tmp_path, ending):
    """As many columns as the first token has, the last the tags that `ner` reads; a hash is a token here."""
    path = tmp_path / f"eng{ending}"
    path.write_bytes(bz2.compress(FOUR.encode()) if ending.endswith("bz2") else FOUR.encode())
    rows = load_alone(str(path))
    assert rows.column_names == ["tokens", "field2", "field3", "tags"]
    assert rows[:]["tokens"] == [["EU", "rejects", "German"], ["#"]] and rows[0]["field2"] == ["NNP", "VBZ", "JJ"]
    assert rows[:]["tags"] == [["B-ORG", "O", "B-MISC"], ["O"]]
    assert ner(str(path), min_count=1, test_share=0.5).output_size >= 1


def test_fields_between_tabs(tmp_path):
    """A line of spaces or tabs alone ends a sentence; the last line needs no end."""
    (tmp_path / "train.conll").write_text(TWO)
    rows = load_alone(str(tmp_path))
    assert rows[:] == {"tokens": [["at", "#worldcup"], ["-LRB-"]], "tags": [["O", "B-event"], ["O"]]}


def test_tokens_alone(tmp_path):
    """A line a token without a tag is what a tagger answers to, and is not trained on."""
    (tmp_path / "train.conll").write_text(FOUR)
    path = tmp_path / "untagged.conll"
    path.write_text("-DOCSTART-\n\nEU\nrejects\n\nGerman\n")
    task = ner(str(tmp_path / "train.conll"), min_count=1, test_share=0.5)
    assert task.read(str(path))[0].lengths.tolist() == [2, 1]
    assert "tags='tags': data=" in complaint(lambda: ner(str(path)))


@pytest.mark.parametrize("text, found", [
    ("a X\n\nb X\nc\n", "row 1 of split 'train': the line of 'c' has fewer than 2 fields"),
    ("a X\nb Y Z\n", "row 0 of split 'train': the line of 'b' has more than 2 fields"),
    ("a\tX\nb\t\n", "row 0 of split 'train': the line of 'b' has fewer than 2 fields"),
    ("# id 7\na X\n", "row 0 of split 'train': the line of 'a' has fewer than 3 fields"),
    ("", "cannot be loaded (is it empty"),
])  # fmt: skip
def test_lines_of_other_fields_are_refused(tmp_path, text, found):
    """`datasets` would fill up what is missing, and drop what is too much."""
    path = tmp_path / "d.conll"
    path.write_text(text)
    assert found in complaint(lambda: load(str(path)))


@pytest.mark.parametrize(
    "name, text",
    [("d.conllu", UNIVERSAL), ("d.conll", FOUR), ("d.conll", "EU\tB-ORG\n")],
    ids=["comment", "document", "token"],
)
def test_a_byte_order_mark_is_no_token(tmp_path, name, text):
    """As editors put it before a file, and so before its first comment, mark of a document, or token."""
    found = []
    for encoding in ("utf-8", "utf-8-sig"):
        path = tmp_path / encoding / name
        path.parent.mkdir()
        path.write_text(text, encoding)
        found.append(load_alone(str(path))[:])
    assert found[0] == found[1]


def test_what_is_no_universal_dependencies(tmp_path):
    path = tmp_path / "d.conllu"
    path.write_text("1 The the DET _ _ 0 root _ _\n")
    assert "fewer than 10 fields" in complaint(lambda: load(str(path)))
    path.write_bytes(UNIVERSAL.encode("latin-1"))
    assert "cannot be loaded" in complaint(lambda: load(str(path)))


def test_a_sentence_of_ranges_alone_is_told(tmp_path):
    path = tmp_path / "d.conllu"
    path.write_text("1-2\tdel" + "\t_" * 8 + "\n\n" + UNIVERSAL)
    assert "row 0 of column 'tokens'" in complaint(lambda: tagging(str(path)))

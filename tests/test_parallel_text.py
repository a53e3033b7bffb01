"""Translation of files of lines, one a language."""

import gzip

import pytest
from small_data import complaint
from test_text import whole

from seqjax.data.parallel_text import load_pairs, load_source
from seqjax.data.translation import translation

ENGLISH, GERMAN = ["a dog", "a\u2028b", "dog a dog"], ["ein Hund", "ein x\x85y", "Hund"]


def folder(place, stems=("train", "valid.tok", "test_2016"), english=ENGLISH, german=GERMAN):
    place.mkdir(exist_ok=True)
    for stem in stems:
        for language, lines in (("en", english), ("de", german)):
            (place / f"{stem}.{language}").write_text("\n".join(lines) + "\n", "utf-8")
    return str(place)


def test_line_by_line(tmp_path):
    """Splits by the files' names; only a line feed ends a line, and no byte order mark begins it."""
    where = folder(tmp_path / "d")
    (tmp_path / "d" / "train.de").write_bytes("\r\n".join(GERMAN).encode())
    (tmp_path / "d" / "README.md").write_text("of no language")
    (tmp_path / "d" / "test_2016.en").write_text("\n".join(ENGLISH), "utf-8-sig")
    splits = load_pairs(where, "en", "de")
    assert list(splits) == ["test", "train", "validation"]
    for rows in splits.values():
        assert rows[:] == {"en": ENGLISH, "de": GERMAN}
    task = translation(where, source="en", target="de", min_count=1, tested_on="validation")
    batch = whole(task)
    assert task.spell(batch, batch.targets, 0) == ["ein", "Hund"]
    asked, _ = task.read(str(tmp_path / "d" / "test_2016.en"))
    assert asked.inputs.source.T.tolist() == batch.inputs.source.T[:, :3].tolist()
    turned = translation(where, source="de", target="en", min_count=1)
    assert whole(turned).lengths.tolist() == [2, 3, 1]  # U+0085 parts words as a space does


def test_one_pair_is_all_there_is(tmp_path):
    where = folder(tmp_path / "d", ["news"])
    for name in ("news.en", "news.de"):
        path = tmp_path / "d" / name
        (tmp_path / "d" / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert load_pairs(where, "en", "de")["train"][:] == {"en": ENGLISH, "de": GERMAN}
    assert translation(where, source="en", target="de").output_size > 3


@pytest.mark.parametrize("stems, languages, told", [
    (["train", "train.lc"], "en de", "train.en and train.lc.en are both train; expected one pair"),
    (["test"], "en de", "pairs of files for test alone; expected one to train on"),
    (["train", "news"], "en de", "news.en does not say its split"),
    (["train"], "en fr", "train.en is one of a pair; expected files that end with .en and .fr"),
])  # fmt: skip
def test_pairs_that_do_not_fit(tmp_path, stems, languages, told):
    where = folder(tmp_path / "d", stems)
    assert told in complaint(lambda: load_pairs(where, *languages.split()))


def test_files_that_do_not_fit(tmp_path):
    where = folder(tmp_path / "d", ["train"], german=GERMAN[:2])
    assert "train.en has 3 and train.de has 2 lines" in complaint(lambda: load_pairs(where, "en", "de"))
    (tmp_path / "d" / "train.de").write_bytes("Hünd".encode("latin-1"))
    assert "train.de cannot be read as UTF-8" in complaint(lambda: load_pairs(where, "en", "de"))
    for name in ("train.en", "train.de"):
        (tmp_path / "d" / name).write_text("")
    assert "are empty" in complaint(lambda: load_pairs(where, "en", "de"))
    folder(tmp_path / "d", ["train"], english=["a", " ", "b"])
    assert "row 1 of column 'en'" in complaint(lambda: translation(where, source="en", target="de"))
    assert "no such file or folder" in complaint(lambda: load_pairs("", "en", "de"))


@pytest.mark.parametrize("data", ["~nobody-here/d", "./" + 300 * "a"])
def test_a_place_that_cannot_be(data):
    """Another's home that does not exist, a name longer than any file's: a line, as of what is not there."""
    for load in (lambda: load_pairs(data, "en", "de"), lambda: load_source(data, "en")):
        assert f"data={data!r}: no such file or folder" in complaint(load)

"""Tables and folders as people keep them: words that look like holes, columns without names, wav files in capitals."""

import json
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import wavfile
from small_data import ROWS, both_written, task_of, written

from seqjax import UserError
from seqjax.data.char_lm import char_lm
from seqjax.data.drawing import drawing
from seqjax.data.forecast import forecast
from seqjax.data.gesture import gesture
from seqjax.data.loading import load
from seqjax.data.piano_rolls import piano_rolls
from seqjax.data.sentiment import sentiment
from seqjax.data.spoken_digits import spoken_digits
from seqjax.data.tagging import tagging
from seqjax.data.translation import translation
from seqjax.report.answers import attention_map, confusion, drawings
from seqjax.training import Config
from seqjax.training.building import build, build_select_task
from seqjax.training.own_task import require_whole


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_cell_that_says_null_is_a_text(tmp_path, in_folder):
    rows = {"text": ["windhoek", "null", "berlin", "NA"] * 3, "label": ["NA", "None", "DE", "NA"] * 3}
    for split in ("train", "test"):
        (tmp_path / "d" / split).mkdir(parents=True)
        written(tmp_path / "d" / split / "rows.csv", rows)
    written(tmp_path / "train.csv", rows)
    task = sentiment(str(tmp_path / ("d" if in_folder else "train.csv")))
    assert task.coding[-1] == ("DE", "NA", "None")
    written(tmp_path / "train.csv", {"text": ["a", "", "b"] * 3, "label": ["x", "y", "x"] * 3})
    with pytest.raises(UserError, match=r"row 1 of column 'text' .* holds None"):
        sentiment(str(tmp_path / "train.csv"))


def test_rows_of_more_fields_than_names_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "good, film,1\nbad, film,0\n" * 10)
    with pytest.raises(UserError, match=r"cannot be loaded .*: rows have more fields than the first line has names"):
        sentiment(str(tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_text("text,label\n" + "good film,1,\nbad film,0,\n" * 10)  # nothing is lost
    assert sentiment(str(tmp_path / "b.csv")).coding[-1] == ("0", "1")


@pytest.mark.parametrize(
    ("table", "arguments", "words"),
    [
        ("a,b\n" + "1,2\n" * 9 + "bad,2\n", {}, r"row 9 of column 'a' .* holds 'bad' among numbers \(1 such rows\)"),
        (",a\n" + "".join(f"{n},{n % 3}\n" for n in range(20)), {}, "a column has no name.*columns='a'"),
        ("0,0.1\n" + "1,2\n" * 20, {}, "expected a first line of names, or columns='0,0.1' if"),
        ("a,b\n" + "1,2\n" * 20, {"columns": "a,a"}, "columns='a,a'; expected each but once"),
        ("2020-01-01,0.5,2\n" + "2020-01-02,1,2\n" * 20, {}, "expected a first line of names, or columns='0.5,2' if"),
        ("0.5,0.5\n" + "1,2\n" * 20, {}, "expected a first line of names, or columns='0.5,0.5.1' if"),
        (
            "a;b\n" + "1;2\n" * 20,
            {},
            "semicolons between the names 'a;b'; expected commas, or tabs in",
        ),
        ('a,b\n"1,5",2\n"2,5",3\n', {}, "column 'a' .* holds numbers as texts, '1,5'; expected numbers as 1.5"),
        ("a\tb\n" + "1\t2\n" * 20, {}, "tabs between the names"),
    ],
)
def test_a_table_that_would_lose_what_it_holds_is_refused(tmp_path, table, arguments, words):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(UserError, match=words):
        forecast(str(tmp_path / "t.csv"), **arguments)


def test_columns_may_stand_apart_and_texts_of_dates_are_left_out(tmp_path):
    both_written("forecast", tmp_path, "csv")
    assert task_of("forecast", tmp_path, columns="b, a").coding[0] == ("b", "a")
    assert task_of("forecast", tmp_path).coding[0] == ("a", "b")


def test_the_columns_of_a_forecast_are_shown_by_name(tmp_path):
    """Those that are left out, as they are no numbers throughout, are missed by a reader of show_task."""
    (tmp_path / "t.csv").write_text("date,a,share,b\n" + "".join(f"d{n},{n},{n}%,{n * n}\n" for n in range(40)))
    task = task_of("forecast", tmp_path / "t.csv")
    assert task.show(task.examples.batch(task.examples.test), 0).startswith("columns   a, b\nread ")


def test_a_folder_is_read_as_its_files_are_whatever_else_lies_there(tmp_path):
    """Tables in it are of tabs too, as a file of such is."""
    rows = {"text": ["windhoek", "null", "berlin"] * 3, "label": ["NA", "None", "DE"] * 3}
    for folder, ending in (("commas", "csv"), ("tabs", "tsv")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.txt").write_text("about it\n")
        for split in ("train", "test"):
            lines = [("," if ending == "csv" else "\t").join(row) for row in [("text", "label"), *zip(*rows.values())]]
            (tmp_path / folder / f"{split}.{ending}").write_text("\n".join(lines) + "\n")
        assert sentiment(str(tmp_path / folder)).coding[-1] == ("DE", "NA", "None")
    assert sentiment(str(tmp_path / "tabs" / "train.tsv")).coding[-1] == ("DE", "NA", "None")


@pytest.mark.parametrize("folder", [False, True])
def test_a_quotation_mark_that_nothing_closes_swallows_no_rows(tmp_path, folder):
    """Of four rows one would be left, whose text holds the others; a mark within a text, or a closed pair, is one."""
    path = tmp_path / "d" / "train.tsv"
    path.parent.mkdir()
    rows = ['he said "no"\tN', '"well put"\tY', 'a "b\tN']
    data = str(path.parent if folder else path)
    path.write_text("\n".join(["text\tlabel", *rows]) + "\n")
    assert load(data, column="text")["train"]["text"][:] == ['he said "no"', "well put", 'a "b']
    path.write_text("\n".join(["text\tlabel", *rows, '"open\tY', "a\tN", 'end"\tY']) + "\n")
    with pytest.raises(UserError, match="row 3, column 'text': a field with tabs or line breaks, as of a quotation"):
        load(data, column="text")


@pytest.mark.parametrize(("make", "name"), [(sentiment, "text"), (gesture, "x"), (spoken_digits, "audio")])
def test_rows_of_one_label_are_refused(tmp_path, make, name):
    rows = ROWS[make.__name__][name]
    written(tmp_path / "train.jsonl", {name: rows, "label": ["only"] * len(rows)})
    with pytest.raises(UserError, match="column 'label' holds 'only' in all rows to train on; expected two labels"):
        make(str(tmp_path))


def test_of_a_split_that_is_not_there_the_other_is_named(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.txt").write_text("ab\nba\n")
    with pytest.raises(UserError, match=r"no split 'test' to test on; .*; tested_on='validation' takes that"):
        char_lm(str(tmp_path), window=2)
    written(tmp_path / "a.jsonl", ROWS["piano_rolls"])
    with pytest.raises(UserError, match=r"no split 'test' .*; expected files whose names give both"):
        piano_rolls(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("make", [gesture, drawing])
@pytest.mark.parametrize("tested", [[[1], [2]], [[1, 2]]])
def test_vectors_to_test_on_are_as_wide_as_those_to_train_on(tmp_path, make, tested):
    for name, x in (("train", [[1, 2, 3], [2, 3, 4]]), ("test", tested)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"x": x, "label": "a"}) + "\n")
    with pytest.raises(UserError, match=r"'x' has 3 numbers a step to train on and \d to test on; expected as many"):
        make(str(tmp_path))


@pytest.mark.parametrize("kind", ["char_lm", "word_lm", "spoken_digits"])
def test_the_rows_that_are_measured_are_not_selected_on_where_they_stay_on_disk(tmp_path, kind):
    (tmp_path / "lm.txt").write_text("ab cd\nab\n" * 30)
    task = f"{kind}(data={str(tmp_path / 'lm.txt')!r}, window=5, stream=True)"
    if kind == "spoken_digits":
        written(tmp_path / "d.jsonl", {name: column * 5 for name, column in ROWS[kind].items()})
        task = f"spoken_digits(data={str(tmp_path / 'd.jsonl')!r}, bands=5, strings=True)"
    config = Config(cell="rnn(hidden=3)", task=task, select_on="validation")
    with pytest.raises(UserError, match="would be the rows that are measured"):
        build_select_task(config, build(config)[0])


def test_images_are_selected_on_a_split_of_their_own(tmp_path):
    both_written("pixel_images", tmp_path, "parquet")
    written(tmp_path / "validation.parquet", {"image": [[[0, 1, 2]] * 2] * 2, "label": [0, 1]})
    task = f"pixel_images(data={str(tmp_path)!r})"
    config = Config(cell="rnn(hidden=3)", task=task, select_on="validation")
    found = build_select_task(config, build(config)[0])
    assert found.examples.test.labels.tolist() == [0, 1]
    (tmp_path / "test.parquet").unlink()  # then it is tested on validation, as ever
    assert task_of("pixel_images", tmp_path).examples.test.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="would be the rows that are measured"):
        build_select_task(config, build(config)[0])


def test_a_byte_order_mark_in_one_file_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("ab\nba\n")
    (tmp_path / "test.txt").write_text("\ufeffab\n")
    with pytest.raises(UserError, match="is a byte order mark at a file's beginning"):
        char_lm(str(tmp_path), window=2)


def test_wav_files_in_capitals_and_rates_with_a_point(tmp_path):
    samples = (3000 * np.sin(np.arange(1000))).astype(np.int16)
    for n, ending in enumerate(("WAV", "wav", "Wav")):
        for word in ("yes", "no"):
            (tmp_path / "w" / word).mkdir(parents=True, exist_ok=True)
            wavfile.write(tmp_path / "w" / word / f"{n}.{ending}", 8000, samples)
    task = spoken_digits(str(tmp_path / "w"), bands=4, test_share=0.34)
    assert len(task.examples.train.words) == 4
    row = {"audio": samples.tolist(), "label": "a", "speaker": "s"}
    for name, rate, fits in (("a", 8000.0, True), ("b", 8000.5, False)):
        rows = [json.dumps(row | {"sampling_rate": rate, "label": each}) + "\n" for each in "ab"]
        (tmp_path / f"{name}.jsonl").write_text("".join(rows * 4))
        if fits:
            spoken_digits(str(tmp_path / f"{name}.jsonl"), bands=4, test_share=0.5)
        else:
            with pytest.raises(UserError, match=r"a rate of 8000.5; expected .* a whole number"):
                spoken_digits(str(tmp_path / f"{name}.jsonl"), bands=4, test_share=0.5)
    row["audio"] = [1, 2, 3]
    (tmp_path / "c.jsonl").write_text((json.dumps(row) + "\n") * 4)
    with pytest.raises(UserError, match="a recording of 'a' has 1 frame of 16 ms; expected 2 at least"):
        spoken_digits(str(tmp_path / "c.jsonl"), bands=4, test_share=0.5, strings=True)


def test_a_texts_own_end_mark_ends_nothing(tmp_path):
    rows = {"en_tok": ["a", "b"] * 3, "de_tok": ["x <end> y <begin> z", "x y z"] * 3}
    for split in ("train", "test"):
        written(tmp_path / f"{split}.jsonl", rows)
    task = translation(str(tmp_path))
    batch = task.examples.batch(task.examples.test)
    assert task.spell(batch, batch.targets, 0) == ["x", "<unk>", "y", "<unk>", "z"]
    counts = np.array([6, 6, 6, 6, 6])  # x, y, z, <unk>, <end>
    assert task.baseline == pytest.approx(-np.sum(counts / 30 * np.log(counts / 30)))


def test_words_in_brackets_are_words_where_not_every_row_is_json(tmp_path):
    rows = {"tokens": ["[ 5 ]", "a b"] * 3, "upos": ["P N P", "X Y"] * 3}
    written(tmp_path / "a.csv", rows)
    task = tagging(str(tmp_path / "a.csv"))
    assert "[" in json.dumps(task.coding)
    written(tmp_path / "b.csv", {"tokens": ['["a b", "c"]'] * 3, "upos": ['["X", "Y"]'] * 3})
    assert "a b" in json.dumps(tagging(str(tmp_path / "b.csv")).coding)


def test_lists_of_every_kind_of_arrow(tmp_path):
    pieces = [[[60, 64], [62, 65]], [[21, 22], [60, 61]]]
    for kind in (pa.large_list(pa.large_list(pa.int64())), pa.list_(pa.list_(pa.int64(), 2), 2)):
        for split in ("train", "test"):
            pq.write_table(pa.table({"notes": pa.array(pieces, kind)}), tmp_path / f"{split}.parquet")
        frames = piano_rolls(str(tmp_path)).examples
        assert float(frames.batch(frames.test).targets.sum()) == 4


def test_dollars_are_signs_in_figures():
    words = ["$\\frac$", "a_b", "$"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        confusion(words, words[::-1])
        attention_map(words, words, np.full((3, 3), 1 / 3))
        drawings(words, np.zeros((4, 3, 2)))


def test_cut_rows_are_said_to_be_graded_so(tmp_path):
    both_written("translation", tmp_path)
    with pytest.warns(UserWarning, match="rows cut to 1 tokens, and graded as they are cut"):
        task_of("translation", tmp_path, longest=1, too_long="cut")


FORMS = [(name, {}) for name in ROWS] + [("spoken_digits", {"strings": True}), ("video", {"asks": "next"})]
FORMS += [("tagging", {"characters": 3}), ("pixel_images", {"order": "pixel"})]


@pytest.mark.parametrize(("name", "arguments"), FORMS)
def test_every_task_on_data_is_what_one_of_a_users_own_has_to_be(name, arguments, tmp_path):
    require_whole(task_of(name, both_written(name, tmp_path), **arguments))

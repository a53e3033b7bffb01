"""Hostile run directories and result records: read, or refused in one line; a resumed run does not trust them."""

import json
import shutil
from pathlib import Path

import pytest
import small
from hypothesis import given
from hypothesis import strategies as st

from experiments.rows import registry
from seqjax.report import load, markdown_table
from seqjax.report.kept import read_results
from seqjax.report.reproduction import render
from seqjax.types import UserError

FILES = ["config.json", "metrics.jsonl", "gradients.jsonl", "result.json"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
DEEP = "[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "9" * 5000, "1e999", "NaN", "\ud800", "\0" * 20, ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole") / "run"
    small.trained(directory, small.RUN._replace(steps=4))
    return directory


@st.composite
def changed(draw, content):
    """A document with a value put in the place of another, a key taken away, or bytes changed."""
    how = draw(st.sampled_from(["value", "value", "value", "bytes", "deep", "all"]))
    if how == "deep":
        return draw(st.sampled_from(DEEP)).encode(errors="surrogatepass")
    if how == "all":
        return json.dumps(draw(JSON)).encode()
    if how == "bytes":
        at, junk = draw(st.integers(0, max(0, len(content) - 1))), draw(st.binary(max_size=8))
        return content[:at] + junk + content[at + draw(st.integers(0, 8)) :]
    lines = content.decode().splitlines()
    number = draw(st.integers(0, len(lines) - 1)) if lines[0] != "{" else None
    document = json.loads(content) if number is None else json.loads(lines[number])
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list(keys)))
        if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()) and isinstance(place, dict):
            del place[key]
        else:
            place[key] = draw(JSON)
        break
    if number is None:
        return json.dumps(document).encode()
    lines[number] = json.dumps(document)
    return ("\n".join(lines) + "\n").encode()


def refused(action):
    """1 where it is refused in one line, 0 where it is done; any other error is one of ours."""
    try:
        action()
        return 0
    except UserError as error:
        assert "\n" not in str(error)
        return 1


@pytest.mark.parametrize("name", FILES)
def test_a_report_of_any_directory(name, whole, tmp_path, record_property):
    content, tried = (whole / name).read_bytes(), []
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)

    @small.tries(15, 1500)
    @given(st.data())
    def once(data):
        (directory / name).write_bytes(data.draw(changed(content)))
        tried.append(refused(lambda: markdown_table(load(directory))))

    once()
    record_property("record files tried", len(tried))
    record_property("record files refused", sum(tried))


@pytest.mark.parametrize("name", FILES)
def test_a_run_is_resumed_or_refused(name, whole, tmp_path, record_property):
    """Up to where it would train: configuration, result and lines are read before that."""
    from seqjax.training import lines, prepare, record
    from seqjax.training.telling import description

    content, tried = (whole / name).read_bytes(), []
    directory = tmp_path / "run"
    shutil.copytree(whole, directory)
    config = small.RUN._replace(steps=4)
    told = description(prepare(config, "run=1,map"), "test")

    def resume():
        record.create(directory, told, resume=True)
        if (directory / "result.json").exists():  # else a run of fewer steps, that goes on
            record.read_json(directory / "result.json")
        lines.Records(directory, config, resumed_at=2).close()

    @small.tries(10, 600)
    @given(st.data())
    def once(data):
        for each in FILES:
            shutil.copy(whole / each, directory / each)
        (directory / name).write_bytes(data.draw(changed(content)))
        tried.append(refused(resume))

    once()
    record_property("record files tried", len(tried))
    record_property("record files refused", sum(tried))


@pytest.mark.parametrize("source", ["hochreiter1997/adding-100.full.json", "bai2018/jsb-gru.full.json"])
def test_result_records(source, tmp_path, record_property):
    """One that cannot be read is left out and named; the page is made of the others: a count and a loss."""
    known, tried = registry(), []
    path = Path(small.__file__).parents[2] / "results/papers" / source
    folder = tmp_path / path.parent.name
    folder.mkdir()
    content = path.read_bytes()

    @small.tries(10, 800)
    @given(st.data())
    def once(data):
        (folder / path.name).write_bytes(data.draw(changed(content)))
        found, bad = read_results(tmp_path)
        assert len(found) + len(bad) == 1
        render(known, tmp_path, tmp_path)
        tried.append(len(bad))

    once()
    record_property("record files tried", len(tried))
    record_property("record files refused", sum(tried))

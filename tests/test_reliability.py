"""docs/reliability.md is what the record of the last run of tests/faults says."""

import json
from pathlib import Path

from experiments import reliability

ROOT = Path(__file__).parents[1]


def test_the_page_is_made_of_the_record():
    """`python -m experiments.reliability` puts it right."""
    record = json.loads((ROOT / "results/reliability.json").read_text())
    assert (ROOT / "docs/reliability.md").read_text() == reliability.page(record)


def test_the_record_is_of_every_file_and_nothing_failed():
    record = json.loads((ROOT / "results/reliability.json").read_text())
    assert {path.stem for path in (ROOT / "tests/faults").glob("test_*.py")} == set(record["files"])
    assert record["totals"]["failed"] == 0 and not record["failures"]


def test_what_is_no_record_is_one_line(tmp_path, capsys):
    for content in (None, "[]", "{}", "x", '{"files": 3}'):
        if content is not None:
            (tmp_path / "r.json").write_text(content)
        assert reliability.main([f"--record={tmp_path / 'r.json'}", f"--page={tmp_path / 'page.md'}"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: --record=") or "is damaged" in err
        assert err.count("\n") == 1 and not (tmp_path / "page.md").exists()

"""docs/reliability.md is what the record of the last run of tests/faults says."""

import json
from pathlib import Path

import pytest

from experiments import reliability

ROOT = Path(__file__).parents[1]
PATH = ROOT / "results/reliability.json"
RECORD = json.loads(PATH.read_text()) if PATH.exists() else None


def test_the_page_is_made_of_the_record():
    """`python -m experiments.reliability` puts it right."""
    assert (ROOT / "docs/reliability.md").read_text() == reliability.page(RECORD)


@pytest.mark.skipif(RECORD is None, reason="there is no record yet: `make faults` writes it")
def test_the_record_is_of_every_file_and_nothing_failed():
    files = {path.stem for folder in ("faults", "scale") for path in (ROOT / "tests" / folder).glob("test_*.py")}
    assert files == set(RECORD["files"])
    assert RECORD["totals"]["failed"] == 0 and not RECORD["failures"]


def test_what_is_no_record_is_one_line(tmp_path, capsys):
    for content in (None, "[]", "{}", "x", '{"files": 3}'):
        if content is not None:
            (tmp_path / "r.json").write_text(content)
        assert reliability.main([f"--record={tmp_path / 'r.json'}", f"--page={tmp_path / 'page.md'}"]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: --record=") or "is damaged" in err
        assert err.count("\n") == 1 and not (tmp_path / "page.md").exists()

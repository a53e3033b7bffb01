"""experiments.applications: trained, answered, reported, kept; and the page that is made of what is kept."""

import json

import numpy as np
import pytest

from experiments import applications, rows
from experiments.samples import sample
from seqjax.papers.row import DATA_SETS, Paper, Row
from seqjax.report import answers
from seqjax.report.answers import attention_map, confusion, forecasts, frames, score
from seqjax.training.prediction import restore

SMALL = {"learning_rates": (1e-2,), "seeds": 2, "steps": 2, "batch_size": 2, "eval_every": 2, "eval_size": 2}
SMALL |= {"probe_size": 2, "probe_every": 2, "checkpoint_every": 2, "stop_when_solved": False}
ROWS = (
    Row(
        "gesture",
        "rnn(hidden=2)",
        "gesture(data='DATA/moves')",
        "grade",
        0.5,
        "M",
        SMALL,
        known="a toy",
        grade="accuracy",
        shape="many-to-one",
        goal=0.25,
    ),
    Row("char_lm", "rnn(hidden=2)", "char_lm(data='DATA/t.txt', window=4)", "loss", None, "M", SMALL),
    Row("none", "rnn(hidden=2)", "char_lm(data='DATA/no.txt')", "loss", 1.0, "M", SMALL),
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of data, of which one set is missing, and the registry of three small rows."""
    monkeypatch.setattr(rows, "registry", lambda: {"applications": Paper("Applications", ROWS)})
    for name in ("moves", "t.txt", "no.txt"):
        monkeypatch.setitem(DATA_SETS, name, "made here")
    monkeypatch.setattr(applications, "PAGE", tmp_path / "applications.md")
    (tmp_path / "data" / "moves").mkdir(parents=True)
    lines = [json.dumps({"x": [[n], [2 * n]], "label": n % 2}) + "\n" for n in range(6)]
    for split in ("train", "test"):
        (tmp_path / "data" / "moves" / f"{split}.jsonl").write_text("".join(lines))
    (tmp_path / "data" / "t.txt").write_text("to be or not to be\n" * 6)
    return [f"--{name}={tmp_path / name}" for name in ("data", "results", "workdir")]


def test_each_is_trained_answered_and_kept(here, tmp_path, capsys):
    assert applications.main([*here, "--budget=full"]) == 0
    assert "applications/none: data not at hand" in capsys.readouterr().err
    report = (tmp_path / "workdir" / "report.html").read_text()
    assert all(words in report for words in ("<h2>gesture</h2>", "<h2>char_lm</h2>", "Truth and answers"))
    kept = tmp_path / "results" / "papers" / "applications"
    found = json.loads((kept / "gesture.full.json").read_text())
    assert [run["grades"]["accuracy"] for run in found["runs"]] == pytest.approx(
        [run["score"] for run in found["runs"]]
    )
    written = (kept / "char_lm.sample.txt").read_text()
    more = {"gesture.full": ("accuracy", [0.5, 0.5], "another", [0, 0.5]), "char_lm.full": ("a peer",)}
    for name, (first, *others) in more.items():
        record = json.loads((kept / f"{name}.json").read_text())
        if not others:
            record["peers"] = {first: 7.0}
        else:
            for n, each in enumerate(record["runs"]):
                each["grades"] = {first: others[0][n], others[1]: others[2][n]}
        (kept / f"{name}.json").write_text(json.dumps(record))
    ancestor = tmp_path / "results" / "hidden_markov" / "of_text.json"
    ancestor.parent.mkdir()
    ancestor.write_text(json.dumps({"command": "it", "found": {"model": "3 states", "nats": 2.5}}))
    assert applications.main([*here, "--page"]) == 0
    page = (tmp_path / "applications.md").read_text()
    assert "![gesture.confusion](results/papers/applications/gesture.confusion.png)" in page
    assert (kept / "gesture.confusion.png").read_bytes().startswith(b"\x89PNG")
    assert "| 3 states | nats 2.5 | `it` |" in page
    assert written.strip() in page and "| `none` |  | loss (nats, or squared error) | not run |" in page
    (line,) = [line for line in page.splitlines() if line.startswith("| `gesture`")]
    assert "| accuracy | " in line and "| 0.25 | 0.5 [M] | - | full: 2 steps, 2 seeds |" in line
    (line,) = [line for line in page.splitlines() if line.startswith("| `char_lm`")]
    baseline = json.loads((kept / "char_lm.full.json").read_text())["baseline"]
    assert f"| guess {baseline:.3g}, a peer 7 |" in line
    assert "- `gesture`: accuracy 0.5, another 0.25." in page
    prepared, params = restore(tmp_path / "workdir" / "applications" / "char_lm-full", 1)
    assert sample(prepared, params).words != written.rstrip("\n")  # another seed writes something else


def test_a_wrong_budget_and_a_wrong_row(here, capsys):
    for flag in ("--budget=small", "--rows=x*"):
        assert applications.main([*here, flag]) == 2
        assert flag.split("=")[1] in capsys.readouterr().err
    assert applications.main([*here, "--rows=none"]) == 2
    assert "no row was run" in capsys.readouterr().err


def test_a_row_that_fails_keeps_no_other_from_being_run(here, tmp_path, capsys):
    (tmp_path / "data" / "moves" / "test.jsonl").write_text('{"x": [[1], [2]], "label": 7}\n')
    assert applications.main([*here, "--budget=full", "--rows=[cg]*"]) == 2
    err = capsys.readouterr().err
    assert "failed: gesture: " in err and "holds '7'" in err and "1 of 2 rows failed" in err
    report = (tmp_path / "workdir" / "report.html").read_text()
    assert "<h2>char_lm</h2>" in report and "<h2>gesture</h2>" not in report


def test_a_forecast_is_drawn_at_the_steps_that_are_told(monkeypatch):
    """+1, +2 ... of the table that `predict` prints, from the last row that was read at 0."""
    drawn = []
    monkeypatch.setattr(answers, "png", lambda figure: drawn.append(figure) or b"")
    forecasts(np.zeros((3, 1)), None, np.ones((2, 1)))
    (axes,) = (each for each in drawn[0].axes if each.lines)
    assert [line.get_xdata().tolist() for line in axes.lines[:2]] == [[-2, -1, 0], [1, 2]]
    assert drawn[0].get_supylabel() == "standardized"


def test_figures_of_answers():
    """Each is a PNG; too many labels are none."""
    rng = np.random.default_rng(0)
    for figure in (
        confusion(["a", "b", "a"], ["a", "a", "c"]),
        attention_map(["the", "dog"], ["der", "Hund", "<end>"], rng.random((4, 3))),
        forecasts(rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))),
        score((rng.random((6, 88)) < 0.1).astype(np.float32), 2),
        score(np.zeros((6, 88), np.float32), 1),
        frames(rng.random((3, 2, 4, 4, 1)), rng.random((3, 2, 4, 4, 1)), 1),
    ):
        assert figure.png.startswith(b"\x89PNG") and figure.title and figure.explanation
    many = [str(n) for n in range(50)]
    assert confusion(many, many) is None

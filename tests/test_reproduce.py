"""The registry of papers, the verdict on a row, and RESULTS.md, which is what the records say."""

import json
import math
from pathlib import Path

import pytest
from small_data import ARGUMENTS, both_written

from experiments import reproduce
from seqjax.papers.row import MEASURES, SOURCES, Row
from seqjax.report.reproduction import render
from seqjax.report.verdicts import Measured, measured, verdict
from seqjax.spec import Spec, parse
from seqjax.training import Config
from seqjax.training.config import build, check

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
KNOWN = reproduce.registry()
ROWS = [(name, row) for name, paper in KNOWN.items() for row in paper.rows]


def run(solved_at=None, loss=1.0, status=None):
    return {"status": status or ("unsolved" if solved_at is None else "solved"), "solved_at": solved_at, "loss": loss,
            "score": 0.5}  # fmt: skip


@pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda each: getattr(each, "name", each))
def test_every_row_can_be_built_at_every_budget(name, row):
    assert row.measure in MEASURES and row.source in SOURCES and row.tolerance > 0
    assert set(row.cpu) <= set(row.settings), "a budget cuts what is there"
    for budget in reproduce.BUDGETS:
        check(reproduce.config_of(row, budget, str(DATA), None))
    if reproduce.missing(row, str(DATA)):
        pytest.skip(reproduce.missing(row, str(DATA)))
    if not row.data:
        build(reproduce.config_of(row, "full", str(DATA), None))


@pytest.mark.parametrize("name", ["embedded_reber()", "translation", "forecast", "video"])
def test_the_cost_of_any_task_can_be_estimated(name, tmp_path):
    """Whatever its inputs are: vectors, a sentence and its translation, a series and what was said of it."""
    task = name if "(" in name else f"{name}(data={both_written(name, tmp_path / 'd')!r})"
    if name in ARGUMENTS:
        task = str(Spec(name, parse(task).arguments | ARGUMENTS[name]))
    config = Config("rnn(hidden=2)", task, learning_rates=(1e-2,), steps=10, batch_size=2, eval_size=2, probe_size=2)
    once, twice = (reproduce.estimate(config._replace(steps=steps), 1e9) for steps in (10, 20))
    assert 0 < once == pytest.approx(twice / 2)


def test_names_are_unique():
    for paper in KNOWN.values():
        names = [row.name for row in paper.rows]
        assert len(names) == len(set(names)) and not any(" " in name for name in names)


def row(measure="loss", published=1.0, **others):
    return Row("r", "rnn", "adding", measure, published, "L", Config("rnn", "adding")._asdict(), **others)


def test_the_median_and_its_interval():
    runs = [run(solved_at=at) for at in (100, 200, 300, 400)] + [run()]
    found = measured(row("sequences"), runs, batch_size=2)
    assert found.value == 600 and found.low == 200 and found.high == math.inf
    assert measured(row("loss"), [run(loss=0.25)] * 3, 1) == Measured(0.25, 0.25, 0.25)
    assert measured(row("loss"), [run(loss=1.0), run(loss=2.0)], 1).value == 1.5
    assert measured(row("loss"), [run(loss=1.0), run(loss=9.0, status="diverged")], 1).value == math.inf
    assert measured(row("loss"), [run(loss=None)], 1) == Measured(None, None, None)


def test_a_share_of_seeds_has_wilsons_interval():
    found = measured(row("solved"), [run(solved_at=1)] * 8 + [run()] * 2, 1)
    assert found.value == 0.8  # the interval: Wilson 1927, as in Newcombe 1998
    assert found.low == pytest.approx(0.4902, abs=1e-4) and found.high == pytest.approx(0.9433, abs=1e-4)
    assert measured(row("solved"), [run()] * 10, 1).low == 0.0


@pytest.mark.parametrize(
    ("given", "found", "budget", "words"),
    [
        (row(), Measured(1.05, 1.04, 1.06), "full", "reproduced"),
        (row(), Measured(1.5, 0.9, 2.0), "full", "reproduced"),
        (row(), Measured(0.5, 0.4, 0.6), "full", "better"),
        (row(), Measured(2.0, 1.9, 2.1), "full", "not reproduced"),
        (row(cpu={"steps": 1}), Measured(2.0, 1.9, 2.1), "cpu", "not reproduced (with a smaller budget)"),
        (row("score"), Measured(2.0, 1.9, 2.1), "full", "better"),
        (row("sequences"), Measured(math.inf, 5.0, math.inf), "full", "not reproduced"),
        (
            *(row("sequences", 7.0), Measured(9.0, 5.0, math.inf), "full"),
            "unclear: the interval has no upper end, as seeds never solve it",
        ),
        (row(published=None), Measured(2.0, 1.9, 2.1), "full", "unclear: the paper gives no number"),
        (row(), Measured(1.0, 1.0, 1.0), "smoke", "no verdict (smoke)"),
        (row(), Measured(None, None, None), "full", "not reproduced: no finite value"),
    ],
)
def test_the_verdict(given, found, budget, words):
    assert verdict(given, found, budget) == words


def test_a_row_is_run_kept_and_shown(tmp_path, capsys):
    flags = ["--paper=hochreiter1997", "--rows=embedded-reber-rnn", "--budget=smoke"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}", "--mesh=map"]
    assert reproduce.main(flags) == 0
    assert "no verdict (smoke)" in capsys.readouterr().out
    path = tmp_path / "results/papers/hochreiter1997/embedded-reber-rnn.smoke.json"
    kept = json.loads(path.read_text())
    assert kept["config"]["steps"] == 20 and len(kept["runs"]) == 1 and kept["environment"]["versions"]["jax"]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| `embedded-reber-rnn` | smoke (steps 20 of 50000, seeds 1 of 10" in page
    assert reproduce.main(flags) == 0  # finished: nothing is trained again
    assert json.loads(path.read_text())["runs"] == kept["runs"]
    path.write_text(path.read_text()[:100])
    assert reproduce.main([*flags[3:4], "--render"]) == 0
    page = (tmp_path / "RESULTS.md").read_text()
    assert "hochreiter1997/embedded-reber-rnn.smoke.json cannot be read" in page and len(path.read_text()) == 100


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--paper=hochreiter97", "--paper='hochreiter97'; did you mean 'hochreiter1997'?"),
        ("--rows=nothing*", "--rows='nothing*' matches none of: char_lm"),
        ("--budget=ful", "--budget='ful'; did you mean 'full'?"),
    ],
)
def test_bad_input_is_one_line(flag, says, capsys):
    assert reproduce.main([flag]) == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1


def test_data_that_are_not_at_hand_are_named(tmp_path, capsys):
    flags = ["--paper=bai2018", "--rows=jsb-rnn", f"--data={tmp_path}", f"--results={tmp_path / 'results'}"]
    assert reproduce.main([*flags, "--list"]) == 0
    assert "data not at hand" in capsys.readouterr().out
    assert reproduce.main(flags) == 0
    assert f"bai2018/jsb-rnn: data not at hand: {tmp_path}/jsb_chorales" in capsys.readouterr().err


def test_results_are_what_the_records_say():
    assert (ROOT / "RESULTS.md").read_text() == render(KNOWN, ROOT / "results/papers"), (
        "make it anew: python -m experiments.reproduce --render"
    )

"""What the seeds of a row measured, the verdict on it, and the picture of all rows."""

import math

import pytest

from seqjax.papers.row import Paper, Row
from seqjax.report import ratios
from seqjax.report.verdicts import Measured, changed, judged, measured, verdict
from seqjax.training import Config


def run(solved_at=None, loss=1.0, status=None):
    return {"status": status or ("unsolved" if solved_at is None else "solved"), "solved_at": solved_at, "loss": loss,
            "score": 0.5}  # fmt: skip


def row(measure="loss", published=1.0, **others):
    settings = {name: value for name, value in Config("", "")._asdict().items() if name not in ("cell", "task")}
    return Row("r", "rnn", "adding", measure, published, "L", settings, **others)


def test_the_median_and_its_interval():
    runs = [run(solved_at=at) for at in (100, 200, 300, 400)] + [run()]
    found = measured(row("sequences"), runs, batch_size=2)
    assert found.value == 600 and found.low == 200 and found.high == math.inf
    assert measured(row("loss"), [run(loss=0.25)] * 3, 1) == Measured(0.25, 0.25, 0.25)
    assert measured(row("loss"), [run(loss=1.0), run(loss=2.0)], 1).value == 1.5
    assert measured(row("loss"), [run(loss=1.0), run(loss=9.0, status="diverged")], 1).value == math.inf
    assert measured(row("perplexity"), [run(loss=math.log(80.0))], 1).value == pytest.approx(80)
    assert math.isfinite(measured(row("perplexity"), [run(loss=1e300)], 1).value)
    assert measured(row("bits"), [run(loss=2 * math.log(2))], 1).value == pytest.approx(2)
    assert measured(row("bits"), [run(loss=1.0, status="diverged")], 1).value == math.inf
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
        (row("perplexity"), Measured(2.0, 1.9, 2.1), "full", "not reproduced"),
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


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({}, []),
        ({"seeds": 7, "checkpoint_every": 1, "task": "pixel_images(data='else/where')"}, []),
        ({"learning_rates": [1e-3]}, []),
        ({"learning_rates": [1e-3, 2e-3], "cell": "gru"}, ["cell", "learning_rates"]),
        ({"task": "pixel_images(order='row', data='else/where')"}, ["task"]),
        ({"steps": 5000}, ["steps"]),
    ],
)
def test_a_result_of_other_settings_than_the_rows_gives_no_verdict(settings, other):
    wanted = row(cpu={"steps": 3})._replace(task="pixel_images(data='DATA/mnist')")
    config = Config(wanted.cell, "pixel_images(data='here/mnist')", steps=3)._asdict() | settings
    assert changed(wanted, "cpu", config) == other and changed(wanted, "smoke", config) == []
    kept = {"best_learning_rate": 1.0, "config": config, "runs": [run() | {"learning_rate": 1.0}]}
    stopping = config | {"stop_when_solved": not config["stop_when_solved"]}
    assert changed(wanted, "cpu", stopping, solved=False) == other != changed(wanted, "cpu", stopping)
    words = f"unclear: the row has another {', '.join(other)} now" if other else "reproduced"
    assert judged(wanted, "cpu", kept) == (Measured(1.0, 1.0, 1.0), words)
    assert (changed(wanted, "full", config | {"steps": 5000}) == []) == (set(other) <= {"steps"})


def test_a_setting_that_an_older_record_does_not_name_was_not_there():
    before = {name: value for name, value in row().settings.items() if name != "select_on"}
    before |= {"cell": "rnn", "task": "adding"}
    assert changed(row(), "full", before) == []
    assert changed(row()._replace(settings={"select_on": "validation"}), "full", before) == ["select_on"]


def test_the_picture_shows_the_rows_that_have_both_numbers():
    """At the largest budget that was run; not one whose published number is zero, or whose seeds gave none."""
    runs = [run(solved_at=50, loss=0.5) | {"learning_rate": 1.0}, run(loss=2.0) | {"learning_rate": 1.0}]
    kept = {"best_learning_rate": 1.0, "config": Config("rnn", "adding")._asdict(), "runs": runs}
    rows = [row(), row(published=0.0)._replace(name="zero"), row(published=None)._replace(name="none")]
    rows += [row("sequences", 2000.0)._replace(name="counted"), row()._replace(name="not_run")]
    papers = {"p": Paper("P", tuple(rows))}
    results = {("p", each.name, "cpu"): kept for each in rows[:-1]} | {("p", "r", "full"): kept}
    lines = [ratios.line_of("p", each, results) for each in rows]
    assert [line and (line.row.name, line.budget, line.words.split(":")[0]) for line in lines] == [
        *(("r", "full", "reproduced"), None, None, ("counted", "cpu", "unclear"), None),
    ]
    assert ratios.ratios(papers, results).png.startswith(b"\x89PNG") and ratios.ratios(papers, {}) is None

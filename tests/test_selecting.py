"""Selection on a split: the evaluation and the learning rate reported, chosen without what is measured."""

import json
import re
import shutil

import numpy as np
import pytest
from small_data import written
from small_images import write
from small_runs import SMALL, lines, stopped_and_gone_on_with

from experiments import train as script
from seqjax import UserError
from seqjax.papers.row import Row
from seqjax.report import curves, load
from seqjax.report.curves import learning_curves, learning_rates
from seqjax.report.medians import measured
from seqjax.report.page import _runs
from seqjax.report.tables import best_rate, table
from seqjax.report.text import markdown_table
from seqjax.training import prepare, train
from seqjax.training.building import build_select_task, build_task
from seqjax.training.prediction import restore
from seqjax.training.state import NEVER
from seqjax.training.telling import _selected

SPLITS = {"train": 60, "test": 72, "validation": 48}  # each its own note: to learn one harms the others


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("pieces")
    for split, note in SPLITS.items():
        written(made / f"{split}.jsonl", {"notes": [[[note], [note], [note, note + 1], [note]]] * 4})
    return made


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """With selection and without: (result.json, the lines of metrics.jsonl, the record)."""
    found = []
    for split in ("validation", None):
        task, place = f"piano_rolls(data={str(folder)!r})", tmp_path_factory.mktemp("runs") / "run"
        config = SMALL._replace(task=task, select_on=split, steps=20, learning_rates=(3e-2, 3e-1))
        train(prepare(config), place, command="here")
        found.append((json.loads((place / "result.json").read_text()), lines(place / "metrics.jsonl"), load(place)[0]))
    return found


def test_the_evaluation_reported_is_the_one_with_the_least_loss_on_the_split(trained):
    result, metrics, record = trained[0]
    for number, end in enumerate(result["runs"]):
        told = [line for line in metrics if line["run"] == number]
        least = min(line["selection_loss"] for line in told)
        (chosen,) = [line for line in told if line["selection_loss"] == least]
        assert end["selected_at"] == chosen["step"] and end["selection_loss"] == least
        assert (end["loss"], end["score"]) == (chosen["loss"], chosen["score"]) and end["steps"] == 20
        run = record.runs[number]
        assert (run.loss, run.selection_loss, run.selected_at) == (end["loss"], least, chosen["step"])
    assert any(end["selected_at"] < 20 for end in result["runs"]), "else nothing was selected here"


def test_the_parameters_of_that_evaluation_answer(trained):
    """What is restored has, on the split and on what is measured, the losses that the record tells."""
    result, _, record = trained[0]
    for number, end in enumerate(result["runs"]):
        prepared, params = restore(record.directory, number)
        select_task = build_select_task(prepared.config, prepared.eval_task)
        for task, loss in ((select_task, "selection_loss"), (prepared.eval_task, "loss")):
            batch = task.examples.batch(task.examples.test)
            outputs, _ = prepared.model.apply(params, batch.inputs, batch.lengths)
            np.testing.assert_allclose(task.loss(outputs, batch), end[loss], rtol=1e-5)


def test_training_is_the_same_with_and_without(trained):
    (with_it, metrics, _), (without, plain, record) = trained
    assert [{name: line[name] for name in plain[0]} for line in metrics] == plain
    assert "selection_loss" not in plain[0] and record.runs[0].selected_at is None
    last = [line["loss"] for line in plain if line["step"] == 20]
    assert [end["loss"] for end in without["runs"]] == last != [end["loss"] for end in with_it["runs"]]


def test_stopped_and_gone_on_with_is_as_never_stopped(folder, tmp_path):
    """With parameters that are held beyond the stop, too."""
    optimizer = "held(optimizer='adam', late=('layer_0',), steps=4)"
    config = SMALL._replace(task=f"piano_rolls(data={str(folder)!r})", select_on="validation", optimizer=optimizer)
    prepared = prepare(config, "map")
    train(prepared, tmp_path / "whole", command="test")
    stopped_and_gone_on_with(prepared, tmp_path)


def test_the_rate_is_chosen_by_the_split_too(trained):
    """Though at the other rate the measured loss were less."""
    record = trained[0][2]
    for better in record.config["config"]["learning_rates"]:
        told = {True: {"selection_loss": 1.0, "loss": 9.0}, False: {"selection_loss": 2.0, "loss": 0.0}}
        runs = tuple(run._replace(**told[run.learning_rate == better]) for run in record.runs)
        assert best_rate(record._replace(runs=runs)) == better
        without = tuple(run._replace(selected_at=None) for run in runs)
        assert best_rate(record._replace(runs=without)) != better


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_ends_by_the_split_and_not_by_what_is_measured(ends, tmp_path):
    """All images to train on are of one kind: it solves the split that is of that kind, and never the other one."""
    for split, kind in {"train": 0, "validation": 0 if ends else 1, "test": 1 if ends else 0}.items():
        write(tmp_path / "d" / f"{split}.jsonl", labels=np.full(12, kind))
    task = f"pixel_images(data={str(tmp_path / 'd')!r}, order='row', classes=2)"
    config = SMALL._replace(task=task, select_on="validation", steps=40, eval_every=10, learning_rates=(3e-2,), seeds=1)
    (run,) = train(prepare(config), tmp_path / "run", command="here")["runs"]
    assert (run["status"], run["steps"] < 40) == (("solved", True) if ends else ("unsolved", False))
    told = json.loads((tmp_path / "run" / "config.json").read_text())["task"]["criterion"]
    assert told == "98% of the images right, on the validation split"


@pytest.fixture(scope="module")
def diverged(folder, tmp_path_factory):
    """At one rate after some evaluations, by a rate that grows; at the other before the first."""
    place = tmp_path_factory.mktemp("runs") / "run"
    schedule = "exponential_decay(transition_steps=11, decay_rate=3e38, end_value=3e38, staircase=True)"
    config = SMALL._replace(task=f"piano_rolls(data={str(folder)!r})", select_on="validation", steps=20)
    train(prepare(config._replace(learning_rates=(0.3, 1e38), schedule=schedule)), place, command="here")
    return json.loads((place / "result.json").read_text())["runs"], load(place)[0]


def test_what_was_selected_before_a_run_diverged_is_its_number(diverged):
    ends, record = diverged
    assert [end["status"] for end in ends] == ["diverged"] * 4
    for number, end in enumerate(ends[:2]):
        told = {line["step"]: line for line in lines(record.directory / "metrics.jsonl") if line["run"] == number}
        before = {step: line["selection_loss"] or np.inf for step, line in told.items() if step < end["diverged_at"]}
        assert len(before) > 1 and end["selected_at"] == min(before, key=before.get)
        assert end["loss"] == told[end["selected_at"]]["loss"]
        prepared, params = restore(record.directory, number)
        select_task = build_select_task(prepared.config, prepared.eval_task)
        batch = select_task.examples.batch(select_task.examples.test)
        outputs, _ = prepared.model.apply(params, batch.inputs, batch.lengths)
        np.testing.assert_allclose(select_task.loss(outputs, batch), end["selection_loss"], rtol=1e-5)
    assert [(end["selected_at"], end["selection_loss"]) for end in ends[2:]] == [(None, None)] * 2
    evaluated = [{"step": step, "selection_loss": loss} for step, loss in ((2, None), (4, 3.0), (6, 3.0), (8, 1.0))]
    assert [_selected(evaluated, at)["step"] for at in (NEVER, 9, 8, 6)] == [8, 8, 4, 4]
    assert _selected(evaluated, 3) is None


def test_its_number_is_in_tables_medians_and_figures(diverged, monkeypatch):
    ends, record = diverged
    losses = [end["loss"] for end in ends[:2]]
    slow, fast = table([record], every_rate=True)
    assert (slow.best, slow.diverged, slow.loss.low, slow.loss.high) == (True, 2, min(losses), max(losses))
    assert (fast.best, fast.diverged, fast.loss, fast.score) == (False, 2, None, None)
    assert "a diverged seed has what was selected before it diverged" in markdown_table([record])
    row = Row("r", "c", "t", "loss", 1.0, "L", SMALL._asdict())
    assert [measured(row, half, 1).value for half in (ends[:2], ends[2:])] == [np.mean(losses), None]
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    learning_rates([record])
    (bar,) = drawn[0].axes[0].containers
    np.testing.assert_allclose(bar[0].get_xydata(), [[0.3, np.mean(losses)]])


def test_a_run_that_is_not_finished_is_told_by_the_split_too(trained, tmp_path):
    shutil.copytree(trained[0][2].directory, tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    (record,) = load(tmp_path / "run")
    for run, end in zip(record.runs, trained[0][0]["runs"]):
        assert run.status == "unfinished" and run.steps == 20
        assert {
            name: getattr(run, name) for name in ("loss", "score", "selection_loss", "selected_at")
        }.items() <= end.items()
    assert "selected loss" in markdown_table([record])


def test_the_page_says_what_was_selected(trained):
    selected, plain = (markdown_table([record]) for _, _, record in trained)
    words = "the loss of the split to select on"
    assert "of the evaluation at which " + words in selected and selected.count(words) == 2 and words not in plain
    assert "selected loss" in selected and "final loss" not in selected
    assert "final loss" in plain and "selected loss" not in plain
    tables = [_runs([record]) for _, _, record in trained]
    assert ["<th>selected at</th>" in table for table in tables] == [True, False]
    cells = re.findall("<td>(.*?)</td>", tables[0])
    assert cells[7 :: len(cells) // 4] == [str(end["selected_at"]) for end in trained[0][0]["runs"]]
    figures = [[drawn([record]) for drawn in (learning_curves, learning_rates)] for _, _, record in trained]
    assert ["diamond" in curves.explanation for curves, _ in figures] == [True, False]
    assert [rates.title.split(" against")[0] for _, rates in figures] == ["Selected loss", "Final loss"]


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("test", "--select_on='test' is the split that is measured"),
        ("dev", "--select_on='dev'.*.*expected 'test' or 'validation'"),
    ],
)
def test_a_split_that_will_not_do(split, says, folder):
    with pytest.raises(UserError, match=says):
        prepare(SMALL._replace(task=f"piano_rolls(data={str(folder)!r})", select_on=split))


def test_a_task_or_data_without_splits(folder, tmp_path, capsys):
    with pytest.raises(
        UserError, match=r"--select_on='validation' is a split of data, and --task=.* draws its samples"
    ):
        prepare(SMALL._replace(select_on="validation"))
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes((folder / f"{split}.jsonl").read_bytes())
    task = f"--task=piano_rolls(data={str(tmp_path)!r})"
    assert script.main([task, "--select_on=validation", f"--workdir={tmp_path / 'run'}", "--batch_size=2"]) == 2
    err = capsys.readouterr().err
    (tmp_path / "text.txt").write_text("".join(f"line {n} of a text of one split\n" for n in range(40)))
    alone = SMALL._replace(task=f"char_lm(data={str(tmp_path / 'text.txt')!r}, window=5)", select_on="validation")
    with pytest.raises(UserError, match="--select_on='validation' would be the rows that are measured"):
        prepare(alone)
    assert "has no split 'validation' to test on; splits: " in err and err.count("\n") == 1


def test_a_label_of_one_split_alone_keeps_no_other_from_selecting(tmp_path):
    """It is an answer of every network, whichever split is measured; where labels are withheld there is none."""
    rows = [{"tokens": ["a", "dog"], "upos": ["D", "N"]}, {"tokens": ["dogs"], "upos": ["N"]}]
    ends = {
        "train": [],
        "validation": [{"tokens": ["oh"], "upos": ["I"]}],
        "test": [{"tokens": ["ran"], "upos": ["V"]}],
    }
    for split, end in ends.items():
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows + end)))
    config = SMALL._replace(task=f"tagging(data={str(tmp_path)!r})", select_on="validation")
    task = build_task(config.task)
    found = build_select_task(config, task)
    assert task.output_size == found.output_size == 4 and task.coding == found.coding
    told = [each.spell(batch, batch.targets, 2) for each in (task, found) for batch in [_test_of(each)]]
    assert told == [["V"], ["I"]]
    (tmp_path / "test.jsonl").write_text("\n".join(json.dumps(row | {"upos": None}) for row in rows))
    assert build_task(f"tagging(data={str(tmp_path)!r}, tested_on='validation')").output_size == 3


def _test_of(task):
    return task.examples.batch(task.examples.test)

"""Forecasts of a table: the rows that follow, at once or row by row, and what in a table is refused."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from datasets import Dataset, Features, Value
from small_runs import SMALL

from experiments import predict, train
from seqjax import UserError
from seqjax.cells.rnn import rnn
from seqjax.data.forecast import forecast
from seqjax.data.vectors import moments
from seqjax.models import encoder_decoder
from seqjax.spec import Spec
from seqjax.training.building import build
from seqjax.types import Pair

SIZES = {"window": 3, "horizon": 2, "train_rows": 10, "validation_rows": 4, "test_rows": 5}


def rows_of(folder, values, name="table.csv"):
    path = folder / name
    lines = [f"day {n},{a},{b}" for n, (a, b) in enumerate(values)]
    path.write_text("\n".join(["date,a,b", *lines]) + "\n")
    return str(path)


@pytest.mark.parametrize("relative", [True, False])
def test_forecasts_are_of_the_rows_that_follow(tmp_path, relative):
    values = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    task = forecast(rows_of(tmp_path, values), **SIZES, relative=relative)
    scaled = (values - values[:10].mean(0)) / values[:10].std(0)
    assert task.examples.train.row.tolist() == list(range(6))
    assert task.examples.test.row.tolist() == list(
        range(11, 15)
    )  # what is said begins with row 14, the first of the test
    batch = jax.device_get(task.examples.batch(task.examples.test))
    for n, start in enumerate(range(11, 15)):
        read, asked = scaled[start : start + 3], scaled[start + 3 : start + 5]
        level = read[-1] if relative else 0
        np.testing.assert_allclose(batch.inputs[:, n], read - level, atol=1e-5)
        np.testing.assert_allclose(batch.targets[n], (asked - level).ravel(), atol=1e-5)
    asked = np.stack([scaled[start + 3 : start + 5] for start in range(11, 15)])
    assert task.baseline == pytest.approx(np.mean(asked**2), rel=1e-4)
    last = np.stack([scaled[start + 2] for start in range(11, 15)])[:, None]
    assert task.peers == {"last value": pytest.approx(np.mean((asked - last) ** 2), rel=1e-4)}
    outputs = np.zeros_like(batch.targets)
    by_hand = batch.targets if relative else asked.reshape(4, -1)
    assert float(task.loss(outputs, batch)) == pytest.approx(np.mean(by_hand**2), rel=1e-4)
    assert float(task.score(outputs, batch)) == pytest.approx(np.mean(np.abs(by_hand)), rel=1e-4)


def test_row_by_row_the_same_is_asked_for(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    once, rows = (forecast(rows_of(tmp_path, values), **SIZES, written=how) for how in ("at once", "row by row"))
    one, other = (jax.device_get(task.examples.batch(task.examples.test)) for task in (once, rows))
    np.testing.assert_array_equal(other.inputs.source, one.inputs)
    np.testing.assert_array_equal(np.swapaxes(other.targets, 0, 1).reshape(4, -1), one.targets)
    np.testing.assert_array_equal(other.inputs.said[0], one.inputs[-1])
    outputs = np.random.default_rng(1).normal(size=other.targets.shape).astype(np.float32)
    for name in ("loss", "score"):
        flat = getattr(once, name)(np.swapaxes(outputs, 0, 1).reshape(4, -1), one)
        assert float(getattr(rows, name)(outputs, other)) == pytest.approx(float(flat), rel=1e-6)
    assert once.show(one, 1) == rows.show(other, 1) and once.show(one, 1).count("\n") == 5
    assert (rows.baseline, rows.peers) == (once.baseline, once.peers)


@pytest.mark.parametrize("kind", ["additive", "none"])
def test_a_decoder_of_vectors_reads_what_it_wrote(kind):
    """Against its own steps one by one; but for the first, what is said to it counts for nothing."""
    made = encoder_decoder(rnn(hidden=3), 2, 2, embedding=4, bidirectional=True, attention_kind=kind, vectors=True)
    rng, lengths = np.random.default_rng(0), np.array([5, 3])
    source, said = (rng.normal(size=(steps, 2, 2)).astype(np.float32) for steps in (5, 4))

    @jax.jit
    def both(params, said):
        memory, state = made.start(params, source, lengths)
        x, found = said[0], []
        for _ in range(4):
            state, (x, _) = made.step(params, memory, state, x)
            found.append(x)
        return made.model.apply(params, Pair(source, said), lengths)[0], jnp.stack(found)

    params = made.model.init(jax.random.key(0))
    whole, steps = both(params, said)
    np.testing.assert_allclose(whole, steps, atol=1e-6)
    silent = said.copy()
    silent[1:] = np.nan
    np.testing.assert_array_equal(both(params, silent)[0], whole)
    assert np.abs(np.diff(whole, axis=0)).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "says"),
    [({"beam": 3}, "--beam=3 is of symbols, and --task="), ({"embedding": 0}, "embedding=0; expected at least 1")],
)
def test_what_a_decoder_of_vectors_would_not_heed_is_said(change, says, tmp_path):
    task = str(Spec("forecast", {"data": rows_of(tmp_path, np.eye(20, 2)), "written": "row by row", **SIZES}))
    with pytest.raises(UserError, match=says):
        build(SMALL._replace(task=task, **change))


def test_a_forecast_row_by_row_is_trained_and_drawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("experiments.preemption.show_report", lambda directory: None)
    values = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    sizes = ", ".join(f"{name}={value}" for name, value in SIZES.items())
    task = f"--task=forecast(data={rows_of(tmp_path, values)!r}, written='row by row', {sizes})"
    flags = ["--cell=rnn(hidden=2)", "--steps=2", "--eval_every=2", "--batch_size=2", "--eval_size=2"]  # probes all
    assert train.main([task, *flags, f"--workdir={tmp_path / 'run'}"]) == 0
    assert predict.main([str(tmp_path / "run")]) == 0
    told = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if ":" not in line)
    (trained,) = json.loads((tmp_path / "run" / "result.json").read_text())["runs"]
    assert told["this network"] == f"{trained['loss']:.3f}" and "last value" in told
    assert (tmp_path / "run" / "answers-0" / "forecast.png").read_bytes().startswith(b"\x89PNG")
    run, picture = str(tmp_path / "run"), tmp_path / "run" / "answers-0" / "forecast-of-data.png"
    assert predict.main([run, f"--data={rows_of(tmp_path, values[:5], 'new.csv')}"]) == 0
    assert capsys.readouterr().out.startswith("step") and picture.read_bytes().startswith(b"\x89PNG")
    for words, says in (
        ([f"--data={rows_of(tmp_path, values[:1] * np.nan, 'bad.csv')}"], "row 0 of column"),
        (["--text=hello"], "reads no text that is typed; expected --data=FILE"),
        (["--text=hello", "--data=x.csv"], "--text and --data; expected one of them"),
    ):
        assert predict.main([run, *words]) == 2
        err = capsys.readouterr().err
        assert says in err and err.count("\n") == 1
    assert train.main([task, *flags, "--teacher_forcing=constant_schedule(value=0.5)"]) == 2
    assert "writes no sequence" in capsys.readouterr().err
    assert train.main([task, *flags, "--batch_size=99"]) == 2
    assert re.search(r"--batch_size=99; expected at most \d+, all the examples to train on\n", capsys.readouterr().err)


def test_a_season_before_is_known_exactly(tmp_path):
    """A table that repeats itself every 24 rows is said without an error by the rows of the day before."""
    day = np.random.default_rng(1).normal(size=(24, 2))
    sizes = {"window": 30, "horizon": 30, "train_rows": 96, "validation_rows": 0, "test_rows": 60}
    task = forecast(rows_of(tmp_path, np.tile(day, (7, 1))), **sizes)
    assert task.peers["one season before"] == pytest.approx(0, abs=1e-9) and task.peers["last value"] > 0.5


@pytest.mark.parametrize(("window", "horizon"), [(24, 5), (30, 24), (24, 60)])
def test_a_season_before_is_the_last_that_was_read(window, horizon, tmp_path):
    """Again and again where the horizon is longer; of a window that is shorter than a season it is not known."""
    values = np.random.default_rng(0).normal(size=(200, 2)).round(3)
    sizes = {"train_rows": 96, "validation_rows": 0, "test_rows": 70, "horizon": horizon}
    task = forecast(rows_of(tmp_path, values), window=window, **sizes)
    scaled = (values - values[:96].mean(0)) / values[:96].std(0)
    errors = [
        np.mean((np.tile(scaled[at - 24 : at], (3, 1))[:horizon] - scaled[at : at + horizon]) ** 2)
        for at in range(96, 96 + 70 - horizon + 1)
    ]
    assert task.peers["one season before"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert list(forecast(rows_of(tmp_path, values), window=23, **sizes).peers) == ["last value"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"columns": "a,c"}, "columns='c'"),
        ({"columns": "date"}, "column 'date' .* holds values that are no numbers"),
        ({"window": 0}, "window=0"),
        ({"validation_rows": -4}, "validation_rows=-4; expected at least 0"),
        ({"test_rows": 50}, "has 20 rows, fewer than train_rows=10"),
        ({"horizon": 9}, "longer than the 5 rows of the test part|longer than the"),
    ],
)
def test_bad_forecasts(changed, words, tmp_path):
    with pytest.raises(UserError, match=words):
        forecast(rows_of(tmp_path, np.ones((20, 2))), **(SIZES | changed))


def test_what_never_varies_is_left_as_it_is(tmp_path):
    """Its deviation is rounded to 1e-17, and not to 0: a step of .1 in the test would be one of 1e16."""
    many = np.full((8640, 1), 23.7)
    assert many.std(0) > 0 and moments(many)[1] == 0
    values = np.stack([np.full(20, 0.1), np.arange(20.0)], 1)
    values[15:, 0] = 0.2
    task = forecast(rows_of(tmp_path, values), **SIZES)
    assert task.baseline < 10 and task.peers["last value"] < 10


def test_a_series_is_one_table_of_any_numbers(tmp_path):
    rows = {"a": np.arange(20, dtype=np.uint16), "b": np.arange(20.0)}
    Dataset.from_dict(rows, features=Features({"a": Value("uint16"), "b": Value("float64")})).to_parquet(
        str(tmp_path / "one.parquet")
    )
    assert forecast(str(tmp_path / "one.parquet"), **SIZES).input_size == 2
    (tmp_path / "two").mkdir()
    for split in ("train", "test"):
        (tmp_path / "two" / f"{split}.csv").write_text("a\n" + "1\n2\n" * 10)
    with pytest.raises(UserError, match=r"has splits .*; expected one series"):
        forecast(str(tmp_path / "two"), **SIZES)


def test_a_hole_in_a_table_is_named_by_its_row(tmp_path):
    values = np.ones((20, 2)).tolist()
    values[7][1] = "nan"
    with pytest.raises(UserError, match=r"row 7 of column 'b' .* holds nan; expected a finite number \(1 such rows\)"):
        forecast(rows_of(tmp_path, values), **SIZES)

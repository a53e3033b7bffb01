"""The scripts, as a person types them: tiny runs, and their help."""

import contextlib
import io
import json
import math
import struct

import pytest

from experiments import ablation, benchmark, gradient_flow, gradient_norms, report, reproduce, show_task, train
from seqjax.report import figures, flow, load, page
from seqjax.report.ranking import each_layer, ranking

# Two cells of one form that begin otherwise are compiled once.
TINY = ["--steps=4", "--eval_every=2", "--eval_size=8", "--batch_size=4", "--probe_every=2", "--checkpoint_every=2"]
SCRIPTS = {"benchmark": benchmark, "train": train, "gradient_norms": gradient_norms, "report": report}
SCRIPTS |= {"gradient_flow": gradient_flow, "ablation": ablation, "reproduce": reproduce, "show_task": show_task}


GRID = [*TINY, "--seeds=2", "--learning_rates=1e-3,3e-3", "--cells=rnn(hidden=3);rnn(hidden=3, recurrent_scale=.5)"]
GRID += ["--task=parity", "--lengths=3,5"]


@pytest.fixture(scope="module", autouse=True)
def small_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DOTS_PER_INCH", 30)
        yield


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(page, "draw", lambda records: [])


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A tiny benchmark: two cells, two lengths, two seeds, two learning rates; what was printed."""
    directory = tmp_path_factory.mktemp("runs") / "x"
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = benchmark.main([*GRID, f"--workdir={directory}"])
    assert status == 0, err.getvalue()
    return directory, out.getvalue(), err.getvalue()


def test_benchmark_compares_and_reports(compared):
    directory, out, err = compared
    assert "rnn(hidden=3)" in out and "baseline" in out
    assert f"report: {directory / 'report.html'}" in out.replace("\n", "")
    assert "100%" in err  # the progress bar
    drawn = {path.stem for path in (directory / "figures").iterdir()}
    assert drawn == {*("learning_curves", "learning_rates", "gradient_norms", "gradient_heat_map"), "training_dynamics"}
    runs = sorted(path.name for path in directory.iterdir() if (path / "result.json").exists())
    assert len(runs) == 4 and runs[0].startswith("00_rnn-hidden-3__parity-length-3")
    assert len(json.loads((directory / runs[0] / "result.json").read_text())["runs"]) == 4


def test_report_is_remade_from_the_directory_alone(compared, capsys):
    directory, out, _ = compared
    before = (directory / "report.html").read_bytes()
    (directory / "report.html").unlink()
    assert report.main([str(directory)]) == 0
    assert capsys.readouterr().out == out
    assert (directory / "report.html").read_bytes() == before


def test_a_finished_benchmark_resumes_to_the_same(compared, capsys, no_figures):
    directory, out, _ = compared
    flags = [*GRID, f"--workdir={directory}"]
    assert benchmark.main(flags) == 2
    assert "exists; --resume continues it" in capsys.readouterr().err
    assert benchmark.main([*flags, "--resume"]) == 0
    assert capsys.readouterr().out == out


def test_train_and_a_cell_of_the_users_own(tmp_path, monkeypatch, capsys, no_figures):
    (tmp_path / "my_cells.py").write_text(
        "import jax.numpy as jnp\n"
        "from seqjax import Cell\n"
        "def leaky(hidden: int = 4, leak: float = 0.1) -> Cell:\n"
        "    '''h_t = (1 - leak) h_{t-1} + leak tanh(x_t w)'''\n"
        "    def step(w, h, x):\n"
        "        h = (1 - leak) * h + leak * jnp.tanh(x @ w)\n"
        "        return h, h\n"
        "    return Cell(lambda key, size: jnp.ones((size, hidden)),\n"
        "                lambda w, shape: jnp.zeros((*shape, hidden), w.dtype), step)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--cell=my_cells.leaky(hidden=3)", "--task=parity(length=3)", "--layers=2", "--bidirectional"]
    flags += ["--dropout=0.1", "--embedding=2", "--optimizer=sgd(momentum=0.9)", "--clip_norm=0", "--clip_value=1"]
    flags += ["--schedule=cosine_decay_schedule(decay_steps=4)"]
    assert train.main([*TINY, *flags, f"--workdir={tmp_path / 'run'}"]) == 0
    out = capsys.readouterr().out
    assert "leaky" in out and "report:" in out
    gradients = json.loads((tmp_path / "run/gradients.jsonl").read_text().splitlines()[0])
    assert "layer_1/backward/state" in gradients["log10_norm"]


def test_gradient_norms_draws_without_training(tmp_path, capsys):
    flags = ["--cells=linen(cell='GRUCell', hidden=3)", "--task=adding", "--lengths=6", "--seeds=2"]
    assert gradient_norms.main([*flags, f"--workdir={tmp_path / 'g'}"]) == 0
    assert "GRUCell" in capsys.readouterr().out
    assert (tmp_path / "g/figures/gradient_norms.png").stat().st_size > 1000
    assert not list((tmp_path / "g").glob("*/checkpoints"))


def test_gradient_flow_measures_ranks_and_draws(tmp_path, capsys):
    directory = tmp_path / "flow"
    cells = "--cells=lstm(hidden=3);lstm(hidden=3, forget_bias=3.0)"
    flags = [cells, "--task=adding", "--length=6", "--seeds=1", "--probe_size=4"]
    quantities = "--quantities=spectrum,lyapunov,lag,sensitivity,gates,noise,truncation,curse"
    assert gradient_flow.main([*flags, quantities, f"--workdir={directory}"]) == 0
    assert "report:" in capsys.readouterr().out
    drawn = {path.stem for path in (directory / "figures").iterdir()}
    assert drawn == {
        *("gradient_norms", "singular_values", "lyapunov", "lags", "sensitivity"),
        *("gates", "noise", "truncation", "curse"),
    }
    lstm, _ = sorted(directory.glob("*lstm*/flow.json"))
    found = json.loads(lstm.read_text())["layer_0"]
    assert set(found["gates"]) >= {"forget_gate", "forget_gate/closed", "forget_gate/open", "forget_gate/horizon"}
    assert found["spectrum"]["lags"] == [1, 4, 6] and len(found["lyapunov"]["exponents"]) == 6
    assert "1/(1-f) of the gates" in (directory / "report.html").read_text()
    records = each_layer(load(directory))
    (_, open_first), (_, shut) = ([row[0], row] for row in ranking(records)[1])
    assert "forget_bias=3.0" in open_first[0] and float(open_first[5]) > float(shut[5])
    endless = {
        **records[0].flow,
        "sensitivity": {"fall_e": 3.0, "fall_100": "inf"},
        "lyapunov": {"exponents": ["-inf"]},
    }
    (row,) = ranking([records[0]._replace(flow=endless)])[1]
    assert row[3:5] + row[6:] == ["3", "∞", "-∞", "0"]
    exploded = {"truncation": {"windows": [1, 4], "cosine": [None, None], "log10_ratio": [None, None]}}
    assert flow._truncation([records[0]._replace(flow=exploded)]) is None
    longer = records[0]._replace(task="adding(length=9)")
    for draw in (flow._noise, flow._sensitivity, flow._truncation):  # a panel a task, as one cell has one colour
        one, two = (math.prod(struct.unpack(">II", draw(each).png[16:24])) for each in (records, [*records, longer]))
        assert two > 1.05 * one
    gateless = [record._replace(flow={**record.flow, "gates": {}}) for record in records]
    assert [row[5] for row in ranking(gateless)[1]] == ["-", "-"]
    assert flow._gates([gateless[0], records[1]]).name == "gates" and flow._gates(gateless) is None


def test_gradient_flow_measures_every_layer_of_a_stack(tmp_path, capsys):
    directory = tmp_path / "flow"
    flags = ["--cells=gru(hidden=3)", "--layers=2", "--bidirectional", "--task=adding", "--length=6", "--seeds=1"]
    flags += ["--quantities=sensitivity,gates,truncation", "--probe_size=4", f"--workdir={directory}", "--resume"]
    assert gradient_flow.main(flags) == 0
    assert f"{directory} holds no run yet; it begins" in capsys.readouterr().err
    (path,) = directory.glob("*/flow.json")
    first, second = json.loads(path.read_text()).values()
    assert set(first) == {"sensitivity", "gates", "truncation"} and set(second) == {"sensitivity", "gates"}
    lower, upper = (row[0] for row in sorted(ranking(load(directory))[1]))
    assert (lower, upper) == ("gru(hidden=3), layer_0", "gru(hidden=3), layer_1")
    page = (directory / "report.html").read_text()
    assert upper in page and "log10 gradient, of all layers, first step" in page


def test_ablation_changes_one_thing_at_a_time(tmp_path, capsys, no_figures):
    directory = tmp_path / "ablation"
    several = ablation._changes("--changes", "forget_bias=0.0;forget_bias=5.0, input_activation='identity'")
    assert several == [{"forget_bias": 0.0}, {"forget_bias": 5.0, "input_activation": "identity"}]
    flags = ["--cell=rnn(hidden=3)", "--gradients=h=0", "--changes=recurrent_scale=.5", "--task=adding", "--lengths=4"]
    assert ablation.main([*TINY, *flags, "--seeds=1", f"--workdir={directory}"]) == 0
    assert "scaled(cell='rnn(hidden=3)', h=0)" in " ".join(capsys.readouterr().out.split())
    ends = [
        json.loads((path / "gradients.jsonl").read_text().splitlines()[0])
        for path in sorted(directory.iterdir())
        if (path / "gradients.jsonl").exists()
    ]
    whole, stopped, halved = (line["log10_norm"]["carry"] for line in ends)
    assert None not in whole and None not in halved and whole != halved
    assert stopped[:-1] == [None] * 3  # exact zeros: nothing goes back through h


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_fits_a_screen_and_gives_an_example(name, capsys):
    assert SCRIPTS[name].main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40 and all(len(line) <= 120 for line in lines)
    assert any(line.strip().startswith(f"python -m experiments.{name}") for line in lines)


def test_show_task_prints_samples_of_any_task(tmp_path, capsys):
    assert show_task.main(["--task=embedded_reber()"]) == 0
    out = capsys.readouterr().out
    assert out.count("sample ") == 3 and "legal" in out and "baseline   0.77" in out and "most active" in out
    (tmp_path / "train.jsonl").write_text('{"notes": [[60], [60, 64], []]}\n')
    (tmp_path / "test.jsonl").write_text('{"notes": [[60], [61]]}\n')
    task = f"--task=piano_rolls(data={str(tmp_path)!r})"
    assert show_task.main([task, "--samples=1"]) == 0
    assert "C4 E4" in (out := capsys.readouterr().out) and "1 to train, 1 to test on" in out

"""The report's figures and page, and its table in a terminal, of hand-made run directories."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from written_runs import benchmark, png_size, printed, run, write_group, write_run

from seqjax import report
from seqjax.report import curves, figures, norms, page
from seqjax.report.text import grid
from seqjax.types import UserError


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(figures, "DOTS_PER_INCH", 30)


def test_a_benchmark_is_read_in_order_and_drawn(tmp_path):
    directory = benchmark(tmp_path / "b")
    records = report.load(directory)
    assert [(r.cell[:3], r.length) for r in records] == [("lst", 50), ("lst", 100), ("rnn", 50), ("rnn", 100)]
    lines = report.markdown_table(records).splitlines()
    assert lines[0].startswith("| cell | length | solved | steps to solve | final loss | baseline |")
    assert lines[2].startswith("| `lstm(hidden=4)` | 50 | 2/2 | 200 | 0.005 | 0.167 | 0.99 | -9.0 | -1.0 |")
    assert lines[5].startswith("| `rnn(hidden=4)` | 100 | 0/2 | - | 0.165† |")
    page_path = report.write_report(directory)
    drawn = sorted(path.name for path in (directory / "figures").iterdir())
    assert drawn == ["gradient_heat_map.png", "gradient_norms.png", "learning_curves.png"]
    text = page_path.read_text()
    assert text.count("data:image/png;base64,") == 3 and "src='h" not in text
    assert "abc123" in text and "0.10.2" in text and "17,000" in text and "loss &lt; .01" in text
    assert f"python -m experiments.report {directory}" in text


def test_made_again_it_is_the_same_and_leaves_nothing_behind(tmp_path):
    directory = write_run(tmp_path / "r", [run(ends=(-9.0, -5.0, -1.0))])
    once = {path: path.read_bytes() for path in (report.write_report(directory), *directory.glob("figures/*"))}
    again = {path: path.read_bytes() for path in (report.write_report(directory), *directory.glob("figures/*"))}
    assert once == again and len(once) == 4
    assert not list(directory.rglob("*.partial"))


def test_tasks_of_two_kinds_are_named_in_full(tmp_path):
    directory = write_group(tmp_path / "b", "benchmark")
    write_run(directory / "a", [run()])
    write_run(directory / "b", [run()], task="parity(length=6, min_length=2)", baseline=math.log(2))
    write_run(directory / "c", [run()], task="pixel_images(order='row')", length=None)
    text = report.markdown_table(report.load(directory))
    assert text.startswith("| cell | task | solved") and "`parity(length=6, min_length=2)`" in text
    assert [r.task[:3] for r in report.load(directory)] == ["add", "par", "pix"]


def test_gradient_norms_without_training_have_gradient_columns_alone(tmp_path):
    directory = write_group(tmp_path / "g", "gradient_norms")
    for name in ("lstm", "rnn"):
        write_run(directory / name, [run(s, ends=(-5.0 - s,)) for s in range(3)], f"{name}(hidden=4)", trained=False)
    records = report.load(directory)
    assert {r.status for record in records for r in record.runs} == {"untrained"}
    text = report.markdown_table(records)
    assert text.startswith("| cell | length | log10 gradient at start |\n")
    assert "-6.0 [-7.0..-5.0]" in text and "unfinished" not in text
    page_text = report.write_report(directory).read_text()
    assert [path.name for path in directory.glob("figures/*")] == ["gradient_norms.png"]
    assert "unfinished" not in page_text
    (one, *_) = report.load(directory / "lstm")
    assert one.runs[0].status == "untrained"


def test_learning_rates_at_which_nothing_was_trained_are_not_compared(tmp_path):
    runs = [run(0, rate, ends=(-5.0,)) for rate in (0.001, 0.1)]
    directory = write_run(tmp_path / "r", runs, trained=False)
    text = report.write_report(directory).read_text()
    assert [path.name for path in directory.glob("figures/*")] == ["gradient_norms.png"]
    assert "Every learning rate" not in text and "Best learning rate" not in text


def test_dollars_in_a_spec_are_signs_in_every_figure(tmp_path):
    """Of a folder called so; as a formula they would end the report."""
    runs = [run(0, rate, ends=(-9.0, -5.0, -1.0)) for rate in (0.001, 0.1)]
    directory = write_run(tmp_path / "r", runs, "my.cell(a='$a_{$')", "char_lm(data='/data/$HOME^^/x$')")
    report.write_report(directory)
    drawn = sorted(path.stem for path in directory.glob("figures/*"))
    assert drawn == ["gradient_heat_map", "gradient_norms", "learning_curves", "learning_rates"]


def test_several_learning_rates_and_divergence_are_drawn(tmp_path):
    runs = [
        run(0, 0.001, "unsolved"),
        run(1, 0.001),
        run(0, 0.1, "diverged", (0.3, 1e30, None)),
        run(1, 0.1, "unsolved"),
    ]
    directory = write_run(tmp_path / "r", runs)
    text = report.write_report(directory).read_text()
    assert "Every learning rate" in text and "0.001 (best)" in text and "1 diverged" in text
    assert png_size(directory / "figures" / "learning_rates.png")[0] > 100


def test_a_run_is_marked_where_it_was_solved_though_it_goes_on(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    directory = write_run(tmp_path / "r", [run(losses=(0.2, 0.005, 0.004, 0.003))])
    ended = json.loads((directory / "result.json").read_text())
    ended["runs"][0]["solved_at"] = 200
    (directory / "result.json").write_text(json.dumps(ended))
    curves.learning_curves(report.load(directory))
    marks = [line.get_xydata().tolist() for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    assert marks == [[[200, 0.005]]]
    assert "solved" in [text.get_text() for text in drawn[0].legends[0].get_texts()]


@pytest.mark.parametrize("draw", [curves.learning_curves, curves.learning_rates])
def test_the_best_there_can_be_is_within_the_panel_and_named(draw, monkeypatch, tmp_path):
    """And what a task does not have is not."""
    drawn = []
    monkeypatch.setattr(curves, "png", lambda figure: drawn.append(figure) or b"")
    runs = [run(seed, rate, losses=(0.02, 0.0015)) for seed in (0, 1) for rate in (0.001, 0.01)]
    (record,) = report.load(write_run(tmp_path / "r", runs, baseline=0.5))
    for optimum, baseline, bounds in ((0.001, 0.5, ["memoryless baseline", "the best there can be"]), (None, None, [])):
        draw([record._replace(optimum=optimum, baseline=baseline)])
        (figure,) = drawn[-1:]
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert [name for name in names if name in ("memoryless baseline", "the best there can be")] == bounds
        low, high = figure.axes[0].get_ylim()
        assert optimum is None or low < optimum < baseline < high


def test_bidirectional_stack_of_an_unknown_cell(tmp_path):
    keys = [
        f"layer_{n}/{way}/{state}"
        for n in (1, 0)
        for way in ("backward", "forward")
        for state in ("c", "h", "memory.0")
    ]
    directory = write_run(tmp_path / "r", [run()], keys=keys)
    report.write_report(directory)
    assert norms._in_order(set(keys))[:5] == [
        "layer_0/forward/h", "layer_0/backward/h", "layer_1/forward/h", "layer_1/backward/h", "layer_0/forward/c",
    ]  # fmt: skip
    assert norms._label("layer_1/backward/memory.0", True) == "state memory.0\nlayer 2, backward"
    assert norms._label("layer_0/state", False) == "state"
    assert png_size(directory / "figures" / "gradient_norms.png")[1] > 12 * 2 * 20


def test_a_backward_layer_is_relative_to_the_step_it_reads_last():
    backward = norms._relative(np.linspace(0, -6, 4), backward=True)
    np.testing.assert_array_equal(backward, [0, -2, -4, -6])


@pytest.mark.parametrize("draw", [curves.learning_curves, curves.learning_rates])
def test_no_panel_is_cut_off_by_the_one_before(draw, tmp_path, monkeypatch):
    """Panels of one baseline share their limits: those are of all that is drawn."""
    drawn = {}
    monkeypatch.setattr(curves, "png", lambda figure: drawn.setdefault("axes", list(figure.axes)) and b"")
    directory = write_group(tmp_path / "b", "benchmark")
    for length, losses in ((6, (0.16, 0.15)), (12, (0.1, 3e-4)), (18, (2.0, 3e-4))):
        runs = [run(0, rate, losses=losses) for rate in (1e-3, 1e-2)]
        write_run(directory / f"r{length}", runs, task=f"adding(length={length})", length=length)
    draw(report.load(directory))
    low, high = drawn["axes"][0].get_ylim()
    for ax in drawn["axes"]:
        assert ax.get_ylim() == (low, high)
        values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines if len(line.get_xdata()) > 1])
        values = values[np.isfinite(values) & (values < curves.HEADROOM / 6)]
        assert values.size and low <= values.min() and values.max() <= high


def test_norms_are_relative_to_the_last_step_that_has_one():
    got = norms._relative(np.array([-9.0, np.nan, -4.0, -3.0, np.nan]))
    np.testing.assert_array_equal(got, [-6, np.nan, -1, 0, np.nan])


def test_median_curve_keeps_the_last_loss_of_a_seed_that_ended(tmp_path):
    from seqjax.report import curves

    runs = [run(0, losses=(0.4, 0.01)), run(1, status="unsolved", losses=(0.3, 0.2, 0.1, 0.1)),
            run(2, status="diverged", losses=(0.2, None))]  # fmt: skip
    (record,) = report.load(write_run(tmp_path / "r", runs))
    steps, middle = curves._median(record.runs)
    np.testing.assert_array_equal(steps, [100, 200, 300, 400])
    np.testing.assert_allclose(middle, [0.3, 0.2, 0.1, 0.1])


def test_everything_in_the_page_is_escaped(tmp_path):
    evil = "<script>alert('&')</script>"
    directory = write_run(tmp_path / "r", [run()], cell=evil, task=f"adding('{evil}')")
    config = json.loads((directory / "config.json").read_text())
    config["command"] = config["environment"]["commit"] = config["config"]["optimizer"] = evil
    config["environment"]["versions"] = {evil: evil}
    (directory / "config.json").write_text(json.dumps(config))
    text = report.write_report(directory).read_text()
    assert "<script" not in text and "&lt;script&gt;" in text


def test_a_directory_that_cannot_be_written_is_told_in_one_line(tmp_path, monkeypatch):
    directory = write_run(tmp_path / "r", [run()])
    monkeypatch.setattr(page, "draw", lambda records: [])
    (directory / "figures").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write the report in .*r': \S.*"):
        report.write_report(directory)
    assert not (directory / "report.html").exists()


def test_the_terminal_table_fits_and_is_plain(tmp_path):
    text = printed(report.load(benchmark(tmp_path / "b")))
    assert max(map(len, text.splitlines())) <= 120 and "\x1b" not in text
    assert text.startswith("task: adding\n") and "[" not in re.sub(r"\[least\.\.greatest\]", "", text)


def test_the_terminal_table_fits_80_columns(tmp_path):
    from rich.console import Console

    out = io.StringIO()
    runs = [run(s, losses=(0.2,) * (12 + s) + (0.0123,), ends=(-20.5 - s, -1.25 * s)) for s in range(3)]
    records = report.load(write_run(tmp_path / "r", runs, cell="lstm(hidden=128, forget_bias=1.0)"))
    Console(file=out, width=80, markup=False).print(grid(report.table(records), 80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "3/3" in text
    assert "score" not in text
    assert re.search(r" \[1300\.\. .*\n.* 1500\] ", text)  # a range breaks in its middle alone


@pytest.mark.parametrize("width", [80, 90, 100, 120])
def test_no_table_is_wider_than_the_terminal(tmp_path, width):
    from rich.console import Console

    out = io.StringIO()
    runs = [run(s, r, losses=(0.2,) * (12 + s) + (0.001 * (1 + s),), ends=(-20.5 - s, -11.25 * s))
            for r in (0.001, 0.01) for s in range(3)]  # fmt: skip
    records = report.load(write_run(tmp_path / "r", runs, cell="lstm(hidden=128, forget_bias=1.0)"))
    Console(file=out, width=width, markup=False).print(grid(report.table(records), width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "1500]" in text and "-22.5]" not in text and "-22.5.." in text and "-20.5]" in text


def test_the_length_is_shown_as_it_was_typed(tmp_path):
    directory = write_run(tmp_path / "r", [run()], task="temporal_order(length=30)", length=33)
    assert "| `lstm(hidden=4)` | 30 |" in report.markdown_table(report.load(directory))


def test_the_report_does_not_need_pyplot(tmp_path):
    source = "".join(path.read_text() for path in Path(page.__file__).parent.glob("*.py"))
    assert "pyplot" not in source.replace("pyplot's", "")

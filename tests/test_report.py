"""The report: numbers of its table against hand-made run directories, its figures, its page, its errors."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from seqjax import report
from seqjax.report import figures, norms, page, tables
from seqjax.report.text import grid
from seqjax.types import UserError


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(figures, "DOTS_PER_INCH", 30)


def run(seed=0, rate=0.003, status="solved", losses=(0.2, 0.1, 0.005), ends=(-20.0, -1.0), score=0.99):
    """One run as the writer sees it: evaluations every 100 steps, and a probe for each of `ends`."""
    return {"seed": seed, "rate": rate, "status": status, "losses": losses, "ends": ends, "score": score}


def norm_lines(end, steps, keys):
    end, there = end or 0, end is not None
    line = list(np.linspace(end, 0, steps) - 3) if steps > 1 else [-3.0]
    return {key: line if there else [None] * steps for key in ("carry", *keys)}


def write_run(directory, runs, cell="lstm(hidden=4)", task="adding(length=6)", length=6, finished=True, steps=6,
              keys=("layer_0/h", "layer_0/c"), baseline=1 / 6, trained=True):  # fmt: skip
    directory.mkdir(parents=True)
    environment = {"commit": "abc123", "dirty": False, "python": "3.11.7", "versions": {"jax": "0.10.2"},
                   "device": {"platform": "cpu", "kind": "cpu", "count": 2}, "started": "2026-11-21"}  # fmt: skip
    config = {
        "kind": "train",
        "command": f"python -m experiments.train --cell={cell!r}",
        "config": {"cell": cell, "task": task, "optimizer": "adam", "steps": 300 if trained else 0},
        "task": {
            "name": "adding",
            "length": length,
            "baseline": baseline,
            "readout": "last",
            "criterion": "loss < .01",
        },
        "runs": [{"seed": r["seed"], "learning_rate": r["rate"]} for r in runs],
        "parameters": 17000,
        "environment": environment,
    }
    (directory / "config.json").write_text(json.dumps(config))
    metrics, gradients, results = [], [], []
    for n, r in enumerate(runs):
        for k, loss in enumerate(r["losses"]):
            metrics.append({"step": 100 * (k + 1), "run": n, "train_loss": loss, "loss": loss, "score": r["score"],
                            "grad_norm": 0.3})  # fmt: skip
        for k, end in enumerate(r["ends"]):
            gradients.append(
                {"step": 150 * k, "run": n, "log10_norm": norm_lines(end, steps, keys), "first_to_last": end}
            )
        at = 100 * len(r["losses"])
        results.append(
            {"seed": r["seed"], "learning_rate": r["rate"], "status": r["status"], "steps": at,
             "solved_at": at if r["status"] == "solved" else None, "score": r["score"],
             "diverged_at": at if r["status"] == "diverged" else None, "loss": r["losses"][-1] if r["losses"] else None}
        )  # fmt: skip
    (directory / "gradients.jsonl").write_text("".join(json.dumps(line) + "\n" for line in gradients))
    if trained:
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        if finished:
            (directory / "result.json").write_text(json.dumps({"wall_seconds": 31.2, "runs": results}))
    return directory


def write_group(directory, kind):
    directory.mkdir(parents=True)
    config = {"kind": kind, "command": f"python -m experiments.{kind}", "config": {"seeds": 3}, "environment": {}}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def one_row(directory):
    (row,) = report.table(report.load(directory))
    return row


def printed(records):
    out = io.StringIO()
    report.print_table(records, out)
    return out.getvalue()


def png_size(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


# The numbers of the table


def test_numbers_by_hand(tmp_path):
    runs = [
        run(0, losses=(0.2, 0.005), ends=(-20.0, -1.0)),
        run(1, losses=(0.2, 0.1, 0.008), ends=(-22.0, -1.5)),
        run(2, losses=(0.2, 0.15, 0.1, 0.003), ends=(-19.0, -4.0)),
        run(3, status="unsolved", losses=(0.2,) * 5, ends=(-30.0, -9.0), score=0.1),
    ]
    row = one_row(write_run(tmp_path / "r", runs))
    assert (row.seeds, row.solved, row.diverged, row.unfinished) == (4, 3, 0, 0)
    assert row.steps_to_solve == (300, 200, 400)
    assert row.loss == pytest.approx(((0.005 + 0.008) / 2, 0.003, 0.2))
    assert row.score == (0.99, 0.1, 0.99)
    assert row.gradient_start == (-21.0, -30.0, -19.0)
    assert row.gradient_end == (-2.75, -9.0, -1.0)
    assert not row.no_memory


def test_best_rate_is_that_where_most_solve_then_fastest_then_lowest_loss(tmp_path):
    slow, fast = (0.2, 0.1, 0.001), (0.2, 0.009)
    few = [run(0, 0.1, losses=fast), run(1, 0.1, "unsolved", losses=(0.2, 0.0001))]
    many = [run(seed, 0.01, losses=slow) for seed in (0, 1)]
    quicker = [run(0, 0.02, losses=fast), run(1, 0.02, losses=fast)]
    assert one_row(write_run(tmp_path / "most", few + many)).learning_rate == 0.01
    assert one_row(write_run(tmp_path / "fastest", few + many + quicker)).learning_rate == 0.02
    none = [run(0, 0.1, "unsolved", (0.2, 0.16)), run(0, 0.3, "unsolved", (0.2, 0.15)), run(0, 1.0, "diverged", (0.1,))]
    records = report.load(write_run(tmp_path / "lowest", none))
    assert report.table(records)[0].learning_rate == 0.3
    every = tables.table(records, every_rate=True)
    assert [(row.learning_rate, row.best) for row in every] == [(0.1, False), (0.3, True), (1.0, False)]
    assert "most seeds solved" in printed(records)


def test_diverged_runs_are_counted_and_have_no_final_loss(tmp_path):
    runs = [
        run(0, status="unsolved", losses=(0.2, 0.15)),
        run(1, status="diverged", losses=(0.2, None), ends=(-3.0, None)),
    ]
    records = report.load(write_run(tmp_path / "r", runs))
    (row,) = report.table(records)
    assert (row.diverged, row.loss, row.gradient_end) == (1, (0.15, 0.15, 0.15), (-1.0, -1.0, -1.0))
    assert "1 diverged" in report.markdown_table(records)


def test_all_diverged(tmp_path):
    runs = [run(0, status="diverged", losses=(None,), ends=(None,), score=None)]
    directory = write_run(tmp_path / "r", runs)
    row = one_row(directory)
    assert (row.loss, row.score, row.steps_to_solve, row.gradient_start, row.gradient_end) == (None,) * 5
    assert "diverged" in report.write_report(directory).read_text()


def test_a_loss_near_the_baseline_is_marked(tmp_path):
    runs = [run(status="unsolved", losses=(0.2, 0.16))]
    records = report.load(write_run(tmp_path / "r", runs))
    assert report.table(records)[0].no_memory
    assert "0.16†" in report.markdown_table(records) and "0.16†" in printed(records)
    (row,) = report.table([records[0]._replace(baseline=None)])
    assert not row.no_memory


def test_score_and_loss_of_length_one(tmp_path):
    directory = write_run(tmp_path / "r", [run(ends=(0.0, 0.0))], length=1, task="adding(length=1)", steps=1)
    assert one_row(directory).gradient_start == (0, 0, 0)
    report.write_report(directory)
    assert png_size(directory / "figures" / "gradient_norms.png")[0] > 100


def test_spread_is_written_with_its_range_only_where_there_is_one():
    assert str(tables.spread([1500, None, 1200, 1700])) == "1500 [1200..1700]"
    assert str(tables.spread([0.00123456])) == "0.00123"
    assert str(tables.spread([999.5, 999.5])) == "1000"
    assert str(tables.spread([-12.34, -9.87, -11.0])) == "-11 [-12.3..-9.87]"
    assert tables.spread([None]) is None


# What is read


def test_unfinished_run_says_so_and_shows_what_is_there(tmp_path):
    runs = [run(0, losses=(0.2, 0.1)), run(1, losses=(0.2, 0.12))]
    directory = write_run(tmp_path / "r", runs, finished=False)
    (record,) = report.load(directory)
    assert [r.status for r in record.runs] == ["unfinished"] * 2
    assert [(r.steps, r.loss) for r in record.runs] == [(200, 0.1), (200, 0.12)]
    assert "0/2 (2 unfinished)" in report.markdown_table([record]) and "step 200" in printed([record])
    assert "unfinished at step 200" in report.write_report(directory).read_text()


def test_unfinished_before_the_first_evaluation(tmp_path):
    directory = write_run(tmp_path / "r", [run(losses=(), ends=())], finished=False)
    (directory / "metrics.jsonl").unlink()
    (directory / "gradients.jsonl").unlink()
    assert "unfinished at step 0" in report.write_report(directory).read_text()
    assert list((directory / "figures").iterdir()) == []


def test_a_line_cut_short_by_a_kill_is_left_out_with_a_note(tmp_path):
    directory = write_run(tmp_path / "r", [run()], finished=False)
    with (directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 400, "run": 0, "lo')
    (record,) = report.load(directory)
    assert record.runs[0].steps == 300
    assert any("metrics.jsonl" in note and "cut short" in note for note in record.notes)


def test_of_a_step_written_twice_the_later_line_counts(tmp_path):
    directory = write_run(tmp_path / "r", [run()], finished=False)
    with (directory / "metrics.jsonl").open("a") as file:
        file.write('{"step": 300, "run": 0, "loss": 0.5}\n')
    (record,) = report.load(directory)
    assert [(e.step, e.loss) for e in record.runs[0].evaluations] == [(100, 0.2), (200, 0.1), (300, 0.5)]


@pytest.mark.parametrize(
    "line", ["{oops", "[1]", '{"step": 1}', '{"step": 1, "run": 7}', '{"step": 1, "run": 0, "loss": "x"}']
)
def test_a_corrupt_line_is_named_by_file_and_number(tmp_path, line):
    directory = write_run(tmp_path / "r", [run()])
    path = directory / "metrics.jsonl"
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(UserError, match=r"^\S*metrics\.jsonl, line 1: .*$"):
        report.load(directory)


def test_directories_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no directory"):
        report.load(tmp_path / "none")
    with pytest.raises(UserError, match=r"no config\.json"):
        report.load(tmp_path)
    with pytest.raises(UserError, match="no run yet"):
        report.load(write_group(tmp_path / "empty", "benchmark"))


@pytest.mark.parametrize("file, text", [("config.json", "{"), ("config.json", "[]"), ("config.json", '{"runs": [{}]}'),
                                        ("result.json", "{}"), ("result.json", '{"runs": [{}]}')])  # fmt: skip
def test_json_of_another_form(tmp_path, file, text):
    directory = write_run(tmp_path / "r", [run()])
    (directory / file).write_text(text)
    with pytest.raises(UserError) as error:
        report.load(directory)
    assert file in str(error.value) and "\n" not in str(error.value)


def test_norms_of_two_lengths(tmp_path):
    directory = write_run(tmp_path / "r", [run()])
    with (directory / "gradients.jsonl").open("a") as file:
        file.write('{"step": 300, "run": 0, "log10_norm": {"carry": [0, 0]}, "first_to_last": 0}\n')
    with pytest.raises(UserError, match=r"gradients\.jsonl: norms of \[2, 6\] time steps"):
        report.load(directory)


# Several records


def benchmark(directory):
    write_group(directory, "benchmark")
    for cell, status, loss in (("lstm(hidden=4)", "solved", 0.005), ("rnn(hidden=4)", "unsolved", 0.165)):
        for length in (100, 50):
            runs = [run(seed, status=status, losses=(0.2, loss), ends=(-9.0, -5.0, -1.0)) for seed in range(2)]
            keys = ("layer_0/h", "layer_0/c") if "lstm" in cell else ("layer_0/h",)
            write_run(directory / f"{cell[:3]}-{length}", runs, cell, f"adding(length={length})", length, keys=keys)
    return directory


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


# The page and the terminal


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

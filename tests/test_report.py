"""The report's numbers: of its table against hand-made run directories, and its errors."""

import itertools
import json

import pytest
from written_runs import one_row, png_size, printed, run, write_group, write_run

from seqjax import report
from seqjax.report import curves, figures, norms, tables
from seqjax.types import UserError


@pytest.fixture(autouse=True)
def small_figures(monkeypatch):
    monkeypatch.setattr(figures, "DOTS_PER_INCH", 30)


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


def test_a_rate_at_which_seeds_diverge_once_they_have_solved_is_not_that_where_most_solve(tmp_path):
    """They count as diverged, and so they have no steps to solve."""
    lost = [run(seed, 0.1, "diverged", losses=(0.005, 0.004, None)) for seed in (0, 1)]
    directory = write_run(tmp_path / "r", [*lost, run(0, 0.01), run(1, 0.01, "unsolved")])
    ended = json.loads((directory / "result.json").read_text())
    for each in ended["runs"][:2]:
        each["solved_at"] = 100
    (directory / "result.json").write_text(json.dumps(ended))
    first, second = tables.table(report.load(directory), every_rate=True)
    assert (first.learning_rate, first.solved, first.best, first.steps_to_solve) == (0.01, 1, True, (300, 300, 300))
    assert (second.learning_rate, second.solved, second.best, second.steps_to_solve) == (0.1, 0, False, None)


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


def test_unfinished_run_says_so_and_shows_what_is_there(tmp_path):
    runs = [run(0, losses=(0.2, 0.1)), run(1, losses=(0.2, 0.12))]
    directory = write_run(tmp_path / "r", runs, finished=False)
    (record,) = report.load(directory)
    assert [r.status for r in record.runs] == ["unfinished"] * 2
    assert [(r.steps, r.loss) for r in record.runs] == [(200, 0.1), (200, 0.12)]
    assert "0/2 (2 unfinished)" in report.markdown_table([record]) and "step 200" in printed([record])
    assert "unfinished, last evaluated at step 200" in report.write_report(directory).read_text()


def test_unfinished_before_the_first_evaluation(tmp_path):
    directory = write_run(tmp_path / "r", [run(losses=(), ends=())], finished=False)
    (directory / "metrics.jsonl").unlink()
    (directory / "gradients.jsonl").unlink()
    assert "unfinished, last evaluated at step 0" in report.write_report(directory).read_text()
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


def test_what_was_measured_is_named_beside_what_was_trained_on(tmp_path):
    directory = write_run(tmp_path / "r", [run()], task="parity(length=3)", length=3)
    config = json.loads((directory / "config.json").read_text())
    config["config"]["eval_task"] = "parity(length=5)"
    (directory / "config.json").write_text(json.dumps(config))
    (record,) = report.load(directory)
    assert record.task == "parity(length=3), measured on parity(length=5)"
    told = " ".join(printed([record]).split())
    assert "measured on" in told and "parity(length=5)" in told
    assert record.task in report.write_report(directory).read_text()


def test_a_curve_of_one_evaluation_is_seen(tmp_path):
    from matplotlib.figure import Figure

    for losses, marks in (((0.2,), 1), ((0.2, 0.1), 0)):
        (record,) = report.load(write_run(tmp_path / f"{marks}", [run(status="unsolved", losses=losses)]))
        ax = Figure().subplots()
        curves._seeds(ax, record.runs, {"color": "red", "marker": ""})
        assert sum(line.get_marker() == "o" for line in ax.lines) == marks


def test_a_cell_with_marks_of_which_nothing_is_finite_is_drawn(tmp_path):
    """Past the palette's end lines have marks, which have no places along a curve that is not there."""
    for n in range(1 + len(figures.PALETTE)):
        write_run(tmp_path / f"{n}", [run(ends=(None, None))], cell=f"lstm(hidden={n + 1})")
    records = [report.load(tmp_path / f"{n}")[0] for n in range(1 + len(figures.PALETTE))]
    assert norms.over_time(records).png.startswith(b"\x89PNG")


def test_norms_of_two_lengths(tmp_path):
    directory = write_run(tmp_path / "r", [run()])
    with (directory / "gradients.jsonl").open("a") as file:
        file.write('{"step": 300, "run": 0, "log10_norm": {"carry": [0, 0]}, "first_to_last": 0}\n')
    with pytest.raises(UserError, match=r"gradients\.jsonl: norms of \[2, 6\] time steps"):
        report.load(directory)


def test_a_long_name_is_broken_in_the_legend_and_the_figure_grows_by_it():
    with figures.canvas(6, 3) as figure:
        figures.legend_above(
            figure, [figures.line("short"), figures.line("lstm(" + ", ".join(f"name={n}" for n in range(40)) + ")")]
        )
        (legend,) = figure.legends
        labels = [text.get_text().split("\n") for text in legend.get_texts()]
        assert labels[0] == ["short"] and len(labels[1]) > 3 and max(map(len, labels[1])) <= 6 * 13
        assert figure.get_figheight() > 3
        figure.draw_without_rendering()
        assert legend.get_window_extent().width <= figure.bbox.width


def test_long_names_above_panels_side_by_side_leave_each_other_alone():
    """As an ablation has them: `scaled(cell='lstm(hidden=64)', forget_gate=0)`, four in a row."""
    names = (
        "scaled(cell='lstm(hidden=64)', forget_gate=0)",
        "pixel_images(order='permuted',data='shared/data/mnist')",
    )
    with figures.canvas(9.5, 3) as figure:
        axes = figure.subplots(1, 4)
        for ax, size in zip(axes, (9, 10, 9, 10)):
            figures.head(ax, *names, size=size)
        figure.draw_without_rendering()
        boxes = [ax.title.get_window_extent() for ax in axes]
        assert all(one.x1 < other.x0 for one, other in itertools.pairwise(boxes))
        assert boxes[0].x0 >= 0 and boxes[-1].x1 <= figure.bbox.width
        assert axes[0].title.get_text().replace("\n", "").replace(" ", "") == "".join(names).replace(" ", "")
        figures.head(axes[0], "rnn(hidden=4)", "adding", size=9)
        assert axes[0].title.get_text() == "rnn(hidden=4)\nadding"

"""Two rows side by side: the ratio of their steps to solve, its interval, and the verdict on it."""

import math

import numpy as np
import pytest
from test_verdicts import row, run

from experiments.rows import registry
from seqjax.papers.row import Comparison, Paper
from seqjax.report.comparisons import comparison_lines
from seqjax.report.verdicts import Measured, times_slower
from seqjax.training import Config

NEVER = [run()] * 3


def seeds(*steps):
    return [run(solved_at=at) for at in steps]


def test_the_ratio_of_medians_and_its_interval():
    assert times_slower(seeds(300), seeds(100)) == Measured(3.0, 3.0, 3.0)
    assert times_slower(seeds(200, 400), seeds(100)).value == 3.0
    low, high = 250 / 150, 350 / 50  # all resamples lie within, and both ends are drawn often enough
    assert times_slower(seeds(250, 300, 350), seeds(50, 100, 150)) == Measured(3.0, pytest.approx(low), high)


def test_the_interval_covers_the_true_ratio_as_often_as_it_says():
    """Seeds drawn from two exponential distributions of medians 3 to 1; a percentile interval of few seeds is wide."""
    random, held = np.random.default_rng(1), 0
    for _ in range(60):
        drawn = [seeds(*random.exponential(scale, size=9)) for scale in (3.0, 1.0)]
        found = times_slower(*drawn)
        held += found.low <= 3.0 <= found.high
    assert held >= 50


def test_a_row_that_never_solves_it_is_slower_without_end():
    assert times_slower(NEVER, seeds(100)) == Measured(math.inf, math.inf, math.inf)
    assert times_slower(seeds(100), NEVER) == Measured(0.0, 0.0, 0.0)
    assert times_slower(NEVER, NEVER) == Measured(None, None, None)
    some = times_slower(seeds(600, 700) + NEVER, seeds(100))
    assert (some.value, some.low, some.high) == (math.inf, 6.0, math.inf)


@pytest.mark.parametrize(
    ("published", "slower", "words"),
    [
        (3.0, seeds(290, 300, 310), "reproduced"),
        (3.2, seeds(300), "reproduced"),
        (7.0, seeds(300), "not reproduced"),
        (2.0, seeds(300), "better"),
        (7.0, seeds(600) + NEVER, "unclear: the interval has no upper end, as seeds never solve it"),
        (None, seeds(300), "unclear: the paper gives no number"),
    ],
)
def test_the_line_of_a_comparison(published, slower, words):
    rows = [row()._replace(name=name, cpu={"steps": 9}) for name in ("slow", "fast")]
    paper = Paper("P", tuple(rows), (Comparison("slow", "fast", published, "L"),))
    told = "curves only" if published is None else f"{published:g} [L]"
    assert comparison_lines("p", paper, {}) == [["`slow`", "`fast`", "-", told, "not run", "-"]]

    def results(budget, steps):
        config = Config("rnn", "adding", steps=steps)._asdict()
        kept = {"config": config, "best_learning_rate": 1.0}
        return {
            ("p", name, budget): kept | {"runs": [each | {"learning_rate": 1.0} for each in runs]}
            for name, runs in {"slow": slower, "fast": seeds(100)}.items()
        }

    steps = Config("", "").steps
    (line,) = comparison_lines("p", paper, results("full", steps))
    assert line[2] == "full" and line[-1] == words
    (line,) = comparison_lines("p", paper, results("cpu", 9))
    cut = " (with a smaller budget)" if words in ("better", "not reproduced") else ""
    assert line[2] == "cpu" and line[-1] == words + cut
    (line,) = comparison_lines("p", paper, results("full", steps + 1))
    assert line[-1] == "unclear: a row has other settings now"
    neither = results("full", steps)
    for kept in neither.values():
        kept["runs"] = [run() | {"learning_rate": 1.0}]
    assert comparison_lines("p", paper, neither)[0][-2:] == ["-", "unclear: neither is solved"]
    one = {key: value for key, value in results("full", steps).items() if key[1] == "fast"}
    assert comparison_lines("p", paper, one)[0][2] == "-"


def test_the_rows_compared_are_in_the_registry():
    for paper in registry().values():
        names = {each.name for each in paper.rows}
        assert all({claim.slower, claim.faster} <= names for claim in paper.comparisons)

"""Two rows side by side: the ratio of their steps to solve, its interval, and the verdict on it."""

import math

import numpy as np
import pytest
from test_verdicts import row, run

from experiments.rows import registry
from seqjax.papers.row import Comparison, Paper
from seqjax.report.comparisons import comparison_lines
from seqjax.report.medians import Measured, times_slower
from seqjax.report.verdicts import OPEN, SMALLER
from seqjax.training import Config

NEVER = [run()] * 3


def seeds(*steps):
    return [run(solved_at=at) for at in steps]


def result(runs, steps=1000):
    """A kept result of these seeds, of so many steps each."""
    runs = [each | {"learning_rate": 1.0} for each in runs]
    return {"best_learning_rate": 1.0, "config": {"steps": steps}, "runs": runs}


def slower(above, below, steps=1000):
    return times_slower(result(above, steps), result(below, steps))


def test_the_ratio_of_medians_and_its_interval():
    assert slower(seeds(300), seeds(100)) == Measured(3.0, 3.0, 3.0)
    assert slower(seeds(200, 400), seeds(100)).value == 3.0
    low, high = 250 / 150, 350 / 50  # all resamples lie within, and both ends are drawn often enough
    assert slower(seeds(250, 300, 350), seeds(50, 100, 150)) == Measured(3.0, pytest.approx(low), high)


def test_the_interval_covers_the_true_ratio_as_often_as_it_says():
    """Seeds drawn from two exponential distributions of medians 3 to 1; a percentile interval of few seeds is wide."""
    random, held = np.random.default_rng(1), 0
    for _ in range(60):
        drawn = [seeds(*random.exponential(scale, size=9)) for scale in (3.0, 1.0)]
        found = slower(*drawn)
        held += found.low <= 3.0 <= found.high
    assert held >= 50


def test_a_seed_that_never_solves_needs_more_steps_than_it_had():
    """How many more is not known: as many at the low end of the interval, any number at the high end."""
    assert slower(NEVER, seeds(100)) == Measured(math.inf, 10.0, math.inf)
    assert slower(NEVER, seeds(100, 125, 100), steps=500) == Measured(math.inf, 4.0, math.inf)
    some = slower(seeds(600, 700) + NEVER, seeds(100))
    assert (some.value, some.low, some.high) == (math.inf, 6.0, math.inf)
    few = slower(seeds(600, 600, 600, 600) + NEVER[:1], seeds(100))
    assert few.value == few.low == 6.0 and few.high <= math.inf
    of_faster = slower(seeds(500, 500, 500), seeds(100, 100) + NEVER[:1])
    assert (of_faster.value, of_faster.low, of_faster.high) == (5.0, 0.0, 5.0)


def test_no_ratio_where_the_faster_is_not_solved():
    assert slower(seeds(100), NEVER) == slower(NEVER, NEVER) == Measured(None, None, None)


@pytest.mark.parametrize(
    ("published", "above", "words"),
    [
        (3.0, seeds(290, 300, 310), "reproduced"),
        (3.2, seeds(300), "reproduced"),
        (7.0, seeds(300), "not reproduced"),
        (2.0, seeds(300), "better"),
        (7.0, seeds(600) + NEVER, OPEN),
        (70.0, NEVER, OPEN),  # of 5,000 steps, "at least 50 times" is all that can be known
        (7.0, NEVER, "better"),
        (None, NEVER, "unclear: there is no published number"),
    ],
)
def test_the_line_of_a_comparison(published, above, words):
    rows = [row()._replace(name=name, cpu={"steps": 9}) for name in ("slow", "fast")]
    paper = Paper("P", tuple(rows), (Comparison("slow", "fast", published, "L"),))
    told = "-" if published is None else f"{published:g} [L]"
    assert comparison_lines("p", paper, {}) == [["`slow`", "`fast`", "-", told, "not run", "-"]]

    def results(budget, steps):
        config = Config("rnn", "adding", steps=steps)._asdict()
        config |= {"learning_rates": list(config["learning_rates"])}
        kept = {"config": config, "best_learning_rate": 1.0}
        return {
            ("p", name, budget): kept | {"runs": [each | {"learning_rate": 1.0} for each in runs]}
            for name, runs in {"slow": above, "fast": seeds(100)}.items()
        }

    steps = Config("", "").steps
    (line,) = comparison_lines("p", paper, results("full", steps))
    assert line[2] == "full" and line[-1] == words
    assert line[-2].startswith("more than") == (above[-1]["solved_at"] is None)
    (line,) = comparison_lines("p", paper, results("cpu", 9))
    if above[-1]["solved_at"] is not None:  # 9 steps are not enough to know otherwise
        assert line[2] == "cpu" and line[-1] == words.replace("not reproduced", "unclear: worse") + SMALLER
    (line,) = comparison_lines("p", paper, results("full", steps + 1))
    assert line[-1] == "unclear: a row has other settings now"
    neither = results("full", steps)
    for kept in neither.values():
        kept["runs"] = [run() | {"learning_rate": 1.0}]
    assert comparison_lines("p", paper, neither)[0][-2:] == ["-", "unclear: fast is not solved"]
    one = {key: value for key, value in results("full", steps).items() if key[1] == "fast"}
    assert comparison_lines("p", paper, one)[0][2] == "-"


def test_the_rows_compared_are_in_the_registry():
    for paper in registry().values():
        names = {each.name for each in paper.rows}
        assert all({claim.slower, claim.faster} <= names for claim in paper.comparisons)

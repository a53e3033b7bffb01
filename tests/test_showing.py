"""How a sample of a task shows itself to a person."""

import numpy as np
import pytest
from drawing import FOUND, SIZE, SMALLER, draw

from seqjax.tasks import showing
from seqjax.tasks.adding import adding
from seqjax.tasks.parity import parity
from seqjax.tasks.showing import show
from seqjax.types import Batch


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (SMALLER["embedded_reber"], "legal"),
        (SMALLER["noise_free_lag"], "a1 a2 a3 a4 a5"),
        (SMALLER["associative_recall"], "? ?"),
        (SMALLER["denoising"], " ."),
        ("parity(length=9, min_length=3)", "target at the end: "),
        ("adding(length=2)", "input 2"),
        ("temporal_order(length=20, relevant=3)", " E"),
    ],
)
def test_a_sample_can_be_read(form, says):
    task, batch = draw(form)
    text = show(task, batch, 3)
    assert says in text and len(text.splitlines()) < 20 and all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("name", FOUND)
def test_every_task_shows_itself(name):
    task, batch = draw(SMALLER.get(name, name))
    text = show(task, batch, SIZE - 1)
    assert "target" in text or "legal" in text
    assert len(text.splitlines()) < 30 and all(len(line) <= 110 for line in text.splitlines())


def test_a_long_sequence_is_shown_by_its_ends():
    tokens = np.arange(1000)[:, None] % 10
    batch = Batch(tokens, np.zeros(1, int), np.ones(1, np.float32))
    text = show(parity()._replace(input_size=10), batch, 0)
    shown = [symbol for line in text.splitlines() if line.startswith("input") for symbol in line.split()[1:]]
    assert "(here 600 steps are left out)" in text and shown == [str(n % 10) for n in range(400)]


def test_only_what_is_shown_of_a_long_sequence_is_spelled(monkeypatch):
    """Of a sequence of a billion steps, too, which as text no memory would hold."""
    spelled = []
    name = lambda value: spelled.append(value) or str(value)  # noqa: E731
    monkeypatch.setattr(showing, "_number", name)
    tokens = np.arange(1000)[:, None]
    text = showing.spelled(name)(Batch(tokens, tokens + 1, np.ones((1000, 1), np.float32)), 0)
    assert "(here 600 steps are left out)" in text and spelled == [*range(200), *range(800, 1000),
                                                                   *range(1, 201), *range(801, 1001)]  # fmt: skip
    spelled.clear()
    show(adding(length=1000), Batch(np.ones((1000, 1, 2)), np.ones((1, 1)), np.ones(1, np.float32)), 0)
    assert len(spelled) == 2 * 400 + 1

"""What the rows of the applications share."""

from seqjax.papers.row import Row

SETTINGS = {"optimizer": "adam", "learning_rates": (2e-3,), "seeds": 3, "eval_every": 100, "stop_when_solved": False}
EPOCHS = "a fixed number of steps, the last evaluation's number; no pretrained vectors"
CHOSEN = "width, rate and steps were found by a few trials that looked at the same split"


def settings(steps: int, **others: object) -> dict[str, object]:
    """Settings of so many steps, probed at both ends."""
    return SETTINGS | {"steps": steps, "probe_every": steps, "checkpoint_every": min(500, steps)} | others


def falling(steps: int) -> str:
    """A learning rate that falls to 0 in so many steps."""
    return f"cosine_decay_schedule(decay_steps={steps})"


def small(row: Row) -> Row:
    """The row with a cpu budget: a fifth of the steps, one seed."""
    steps = row.settings["steps"] // 5
    cut = {"steps": steps, "seeds": 1, "eval_every": min(row.settings["eval_every"], steps)}
    if "schedule" in row.settings:
        cut["schedule"] = falling(steps)
    return row._replace(cpu=cut)

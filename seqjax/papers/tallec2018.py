"""Tallec & Ollivier 2018: chrono initialization against a forget bias of 1, of which the paper shows curves."""

from seqjax.papers.row import Comparison, Paper, Row

SETTINGS = {
    "optimizer": "rmsprop(decay=0.9)",
    "learning_rates": (1e-3,),
    "batch_size": 50,
    "clip_norm": None,
    "seeds": 5,
    "steps": 20_000,
    "eval_every": 500,
    "probe_every": 5000,
}
KNOWN = "the paper shows curves only; its learning rate is one, 1e-3; the batch of 50 is ours"
EARLY = "; of copying the cpu budget runs the first twentieth, which decides nothing of the end"


def _pair(task: str, name: str, longest: int, steps: int, seeds: tuple[int, int] = (3, 3)) -> tuple[Row, ...]:
    """Chrono initialization and a bias of 1, of which the cpu budget runs so many `seeds` for `steps`."""
    cells = {"chrono": f"lstm(hidden=128, max_lag={longest})", "bias-1": "lstm(hidden=128, forget_bias=1.0)"}
    known = KNOWN + EARLY * ("copy" in name)
    return tuple(
        Row(f"{name}-{short}", cell, task, "loss", None, "L", SETTINGS, {"steps": steps, "seeds": n}, known=known)
        for (short, cell), n in zip(cells.items(), seeds, strict=True)
    )


def _warped(variant: str) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"warp-{variant}-{short}",
            f"{short}(hidden=64)",
            f"warp(length=500, warping=50, variant='{variant}')",
            "loss",
            None,
            "L",
            SETTINGS | {"steps": 3000, "learning_rates": (3e-4, 1e-3, 3e-3)},
            {"learning_rates": (1e-3,), "seeds": 3},
            known="the paper shows curves only; its gated network stands here as a GRU, which has a reset gate more; "
            "3 epochs of 50,000 sequences, ours fresh; batches of 50, the rates and the warping of 50 are ours",
        )
        for short in ("rnn", "gru")
    )


PAPER = Paper(
    "Tallec & Ollivier 2018, Can Recurrent Neural Networks Warp Time?, ICLR",
    (
        *_pair("copy_memory(length=500)", "copy-500", 750, 1000),
        *_pair("copy_memory(length=500, variant='variable')", "variable-copy-500", 500, 1000),
        *_pair("adding(length=200)", "adding-200", 200, 3000),
        *_pair("adding(length=750)", "adding-750", 750, 20_000, seeds=(2, 1)),
        *_warped("uniform"),
        *_warped("variable"),
    ),
    (
        Comparison("adding-200-bias-1", "adding-200-chrono", None, "L"),
        Comparison("adding-750-bias-1", "adding-750-chrono", 7.0, "L"),
    ),
)

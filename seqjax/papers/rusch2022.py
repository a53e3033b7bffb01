"""Rusch et al. 2022, LEM: adding over 10,000 steps, and images pixel by pixel."""

from seqjax.papers.row import Paper, Row

SETTINGS = {
    "optimizer": "adam",
    "learning_rates": (1e-3, 1.8e-3, 2.6e-3, 5e-3),
    "batch_size": 50,
    "clip_norm": 1.0,
    "seeds": 3,
    "steps": 50_000,
    "eval_every": 500,
    "eval_size": 200,
    "probe_every": 10_000,
}
PIXELS = SETTINGS | {"batch_size": 128, "steps": 56_000, "stop_when_solved": False}
KNOWN = "128 units; the rate of .0026 and the batch of 50 are those of adding, Δt, clipping and the steps ours"


def _pixels(name: str, order: str, number: float) -> Row:
    task = f"pixel_images(order='{order}', data='DATA/mnist')"
    cut = {"steps": 4500, "seeds": 1, "learning_rates": (2.6e-3,)}  # 9.6 epochs, about an hour of a core
    return Row(f"{name}-lem", "lem(hidden=128)", task, "score", number, "L", PIXELS, cut, known=KNOWN)


PAPER = Paper(
    "Rusch, Mishra, Erichson & Mahoney 2022, Long Expressive Memory for Sequence Modeling, ICLR",
    (
        Row(
            "adding-10000-lem",
            "lem(hidden=128)",
            "adding(length=10000)",
            "loss",
            2.4e-5,
            "L",
            SETTINGS | {"stop_when_solved": False},
            {"steps": 100, "seeds": 1, "learning_rates": (2.6e-3,), "eval_every": 50},
            tolerance=1.0,
            known=KNOWN,
        ),
        _pixels("smnist", "pixel", 0.9945),
        _pixels("pmnist", "permuted", 0.9662),
    ),
)

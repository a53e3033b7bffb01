"""Chandar et al. 2019, NRU: permuted images pixel by pixel."""

from seqjax.papers.row import Paper, Row

SETTINGS = {
    "optimizer": "adam",
    "learning_rates": (3e-4, 1e-3, 3e-3),
    "batch_size": 100,
    "clip_norm": 1.0,
    "seeds": 3,
    "steps": 50_000,
    "eval_every": 600,
    "probe_every": 10_000,
    "checkpoint_every": 600,
    "stop_when_solved": False,
}
CPU = {"steps": 1200, "seeds": 1, "learning_rates": (1e-3,)}
NUMBERS = {
    "nru": ("nru(hidden=212, memory=256, heads=4)", 0.9538),
    "gru": ("gru(hidden=256)", 0.9239),
    "lstm": ("lstm(hidden=256)", 0.8986),
}
KNOWN = "the paper's rate is 1e-3; the widths of the LSTM and the GRU are ours"

PAPER = Paper(
    "Chandar, Sankar, Vorontsov, Kahou & Bengio 2019, Towards Non-Saturating Recurrent Units, AAAI",
    tuple(
        Row(
            f"pmnist-{name}",
            cell,
            "pixel_images(order='permuted', data='DATA/mnist')",
            "score",
            number,
            "M",
            SETTINGS,
            CPU,
            known=KNOWN,
        )
        for name, (cell, number) in NUMBERS.items()
    ),
)

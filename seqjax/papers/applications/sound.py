"""Sound: spoken digits and music."""

from seqjax.papers.applications.parts import CHOSEN, falling, settings
from seqjax.papers.row import Row

ROWS = (
    Row(
        "spoken_digits",
        "gru(hidden=96)",
        "spoken_digits(data='DATA/fsdd')",
        "score",
        0.96,
        "L",
        settings(800, bidirectional=True, eval_size=100),
        known="published: a repository's F1 on a split of its own; the official test here; " + CHOSEN,
        shape="many-to-one",
        goal=0.97,
    ),
    Row(
        "spoken_digits-new-speaker",
        "gru(hidden=96)",
        "spoken_digits(data='DATA/fsdd', held_out_speaker='theo')",
        "score",
        None,
        "M",
        settings(800, bidirectional=True, eval_size=100),
        known="one of six speakers is tested on and not trained on",
        shape="many-to-one",
    ),
    *(
        Row(
            name,
            "gru(hidden=96)",
            f"spoken_digits(data='DATA/fsdd', strings=True{held_out})",
            "errors",
            None,
            "M",
            settings(3000, bidirectional=True, batch_size=16, eval_size=100, eval_every=500, seeds=1),
            known="strings of 3 to 6 recordings of a speaker, joined without a pause, best path",
            grade="word error rate",
            shape="many-to-many, unaligned",
            goal=goal,
        )
        for name, held_out, goal in (
            ("connected_digits", "", 0.06),
            ("connected_digits-new-speaker", ", held_out_speaker='theo'", None),
        )
    ),
    Row(
        "music-chorales",
        "gru(hidden=200)",
        "piano_rolls(data='DATA/jsb_chorales')",
        "loss",
        8.43,
        "L",
        settings(4000, batch_size=8, eval_size=77, input_dropout=0.2, clip_norm=0.4, schedule=falling(4000)),
        known="published: the GRU of Bai et al. 2018, a mean of its last 3 epochs; ours is the last evaluation, "
        "of a number of steps that was found by a trial on the same split",
        shape="many-to-many, one-to-many",
        goal=8.6,
    ),
    Row(
        "music-nottingham",
        "lstm(hidden=200)",
        "piano_rolls(data='DATA/nottingham')",
        "loss",
        3.29,
        "L",
        settings(6000, batch_size=8, eval_size=10, learning_rates=(3e-3,), eval_every=1000, schedule=falling(6000))
        | {"clip_norm": 0.4, "input_dropout": 0.1},
        known="published: the LSTM of Bai et al. 2018; rate and steps were found by trials on the validation split; "
        "ours is narrower, and its last evaluation counts",
        shape="many-to-many, one-to-many",
        goal=3.5,
    ),
)

"""Images and videos."""

from seqjax.papers.applications.parts import falling, settings
from seqjax.papers.row import Row

ROWS = (
    Row(
        "pixel_images",
        "lstm(hidden=100)",
        "pixel_images(order='row', data='DATA/mnist')",
        "score",
        None,
        "M",
        settings(4000, batch_size=64, eval_every=500, schedule=falling(4000)),
        known="row by row, of which no number is at hand that is known to be of this setting",
        shape="many-to-one",
        goal=0.98,
    ),
    Row(
        "video",
        "lstm(hidden=128)",
        "video(data='DATA/mnist')",
        "score",
        None,
        "M",
        settings(3000, batch_size=64, embedding=64, eval_size=500, eval_every=500, schedule=falling(3000), seeds=1),
        known="ten frames of a moving digit of 14 by 14 pixels, made here: both the digit and its way must be right",
        shape="many-to-one, a convolution at each step",
        goal=0.95,
    ),
    Row(
        "video-foreseen",
        "lstm(hidden=256)",
        "video(data='DATA/mnist', asks='next')",
        "loss",
        None,
        "M",
        settings(3000, batch_size=64, embedding=128, eval_size=500, eval_every=500, schedule=falling(3000), seeds=1),
        known="squared error of the next frame, summed over its pixels, given the true ones before",
        shape="many-to-many, one-to-many",
    ),
)

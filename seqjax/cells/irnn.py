"""The IRNN: a relu network that begins with the identity as its recurrent matrix."""

from __future__ import annotations

from seqjax import cells, spec
from seqjax.types import Cell


def irnn(hidden: int = 128, recurrent_scale: float = 1.0, input_scale: float = 0.001) -> Cell:
    """`rnn` as Le, Jaitly & Hinton (2015) begin it: h_t = max(0, x_t W_x + h_{t-1} W_h + b), W_h = I, b = 0.

    Args:
        hidden: number of units H.
        recurrent_scale: W_h begins as this times I; the paper takes .01 for speech, which has no long memory.
        input_scale: standard deviation of W_x.

    Raises:
        UserError: hidden < 1.
    """
    arguments = {
        "hidden": hidden,
        "activation": "relu",
        "recurrent_init": "identity",
        "recurrent_scale": recurrent_scale,
        "input_init": "normal",
        "input_scale": input_scale,
    }
    return spec.build(spec.Spec("rnn", arguments), [cells], Cell)

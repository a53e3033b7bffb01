"""Denoising: pick symbols out of noise, and repeat them in order once a marker has come."""

from __future__ import annotations

from seqjax.tasks.scattering import picked_out
from seqjax.tasks.scoring import sequence_accuracy
from seqjax.types import Task


def denoising(length: int = 100, symbols: int = 9, tokens: int = 10) -> Task:
    """T steps of noise with K symbols at random places among them, the marker, K blanks in which to answer.

    Tokens: 0 is noise and blank, 1 ... S the symbols, S + 1 the marker. Only the last K steps count.
    (Jing et al. 2017, "Gated Orthogonal Recurrent Units", the denoise task, by the authors' code:
    S = 9, K = 10)

    Departures: the K places are distinct, where the authors' code draws them with repetition, so that a
    symbol may be overwritten and still be asked for; and its loss is a mean over all T' + 2K steps, of
    S + 1 classes, the blank among them, with the baseline K ln S / (T' + 2K), where ours is of the K
    answers alone. Its T' is our T - K + 1: T' + K - 1 steps stand before the marker.

    Baseline: ln S.
    Solved: 99 % of the sequences answered without a mistake (the paper shows curves only). The score
    is that share.

    Args:
        length: T, steps before the marker.
        symbols: S.
        tokens: K.

    Raises:
        UserError: a length below 1, symbols below 2, or tokens outside 1 ... length.
    """
    criterion = "99 % of the sequences answered without a mistake"
    return picked_out(length, symbols, tokens, sequence_accuracy, criterion, markers=1, blanks=tokens)

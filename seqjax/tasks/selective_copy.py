"""Selective copying: pick symbols out of a long stretch of blanks, and repeat them in order."""

from __future__ import annotations

from seqjax.tasks.scattering import picked_out
from seqjax.tasks.scoring import accuracy
from seqjax.types import Task


def selective_copy(length: int = 100, symbols: int = 14, tokens: int = 16) -> Task:
    """T steps of blanks with K symbols at random places among them, then K markers, one an answer.

    Tokens: 0 is the blank, 1 ... S the symbols, S + 1 the marker. Only the K steps of the markers
    count: at the k-th the k-th symbol is asked for. (Gu & Dao 2023, section 4.1.1, after Jing et al.
    2019; the generator is that of the S4 code, an alphabet of 16 with blank and marker, hence S = 14; its
    symbols fall among L + K steps, L = 4096 and K = 16, which are our T = 4112)

    Baseline: ln S.
    Solved: 99 % of the symbols right (the paper states no criterion; its selective models reach
    97-99.8 %). The score is that share.

    Args:
        length: T.
        symbols: S.
        tokens: K.

    Raises:
        UserError: a length below 1, symbols below 2, or tokens outside 1 ... length.
    """
    return picked_out(length, symbols, tokens, accuracy, "99 % of the symbols right", markers=tokens, blanks=0)

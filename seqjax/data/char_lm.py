"""Characters: the next one of any text."""

from __future__ import annotations

from typing import Literal

from seqjax.data.next_token import Tokens, language_model
from seqjax.types import Task

CHARACTERS = Tokens(lambda lines: list("".join(line + "\n" for line in lines)), "".join)


def char_lm(
    data: str,
    window: int = 100,
    column: str = "text",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
    min_count: int = 1,
    carried: bool = True,
    stream: bool | None = None,
) -> Task:
    """Predict each character of a text, the line ends among them, from those before it.

    The loss is in nats a character, the score in bits. Every character of the text to test on but its first is
    predicted once.
    Baseline: of a guess that knows how often each character occurs, and nothing else: the entropy of the
    training text's characters. Solved: never; papers compare the number itself.

    With `carried`, which is how papers count, training reads the text as --batch_size parts side by side, T characters
    of each at a step, and hands the state on from window to window, without its gradient, until the
    parts end; then again from the start. Evaluation does the same with --eval_size parts; state is lost at
    so many places. Without it each window is read from a fresh state, in training in random order.

    Args:
        data: a text file; a local folder whose files' names give the splits; or a name on the Hugging Face hub.
        window: T, at most how far back a gradient reaches.
        column: the column of text; in plain text files 'text', a line a row.
        tested_on: the split that evaluation reads.
        test_share: the last of a text's lines that are tested on where there is but one split.
        min_count: a character that occurs less often is <unk>, as is then one that does not occur at all.
        carried: whether the state is handed on from one window to the next.
        stream: whether the text stays on disk and its windows are read as they are needed, for a text that
            does not fit into memory; None for whichever suits the size of a split. The numbers are the same.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; a column of anything but
            text; a text of fewer than two characters, or of which fewer than two are told apart; a character that is
            not in the training text, where that has no <unk>.
    """
    return language_model(CHARACTERS, data, window, column, tested_on, test_share, min_count, None, carried, stream)

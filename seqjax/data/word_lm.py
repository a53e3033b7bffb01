"""Words: the next one of any text."""

from __future__ import annotations

from typing import Literal

from seqjax.data.next_token import Tokens, language_model
from seqjax.types import Task

END = "<eos>"
WORDS = Tokens(lambda lines: [word for line in lines for word in (*line.split(), END)], " ".join)


def word_lm(
    data: str,
    window: int = 35,
    column: str = "text",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
    min_count: int = 1,
    most: int | None = None,
    carried: bool = True,
    stream: bool | None = None,
) -> Task:
    """Predict each word of a text from those before it; a word is what spaces separate, and <eos> at each line's end.

    The loss is in nats a word: perplexity is its exponential, over all words of the text to test on but the
    first, <eos> among them, blank lines' too. (Mikolov et al. 2010; Zaremba, Sutskever & Vinyals 2014) Words that
    are not told apart count as <unk>, which is easier to predict: with min_count or most a perplexity is
    not the one of all words, and is compared with its own baseline.

    Keep --eval_size small where there are many words: an evaluation holds eval_size x T x words numbers at a time.

    Baseline, score, `carried` and the other arguments: as `char_lm`, and

    Args:
        data: see `char_lm`.
        window: T.
        column: see `char_lm`.
        tested_on: see `char_lm`.
        test_share: see `char_lm`.
        min_count: a word that occurs less often in the training text is <unk>.
        most: how many words are told apart, <unk> among them: the most frequent; None for all.
        carried: see `char_lm`.
        stream: see `char_lm`.

    Raises:
        UserError: as `char_lm`, of words.
    """
    return language_model(WORDS, data, window, column, tested_on, test_share, min_count, most, carried, stream)

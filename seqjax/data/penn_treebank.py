"""The Penn Treebank as a language model reads it: the next word, or the next character."""

from __future__ import annotations

import os
from typing import Literal

from seqjax.data.char_lm import char_lm
from seqjax.data.word_lm import word_lm
from seqjax.types import Task, UserError


def penn_treebank(
    data: str,
    level: Literal["word", "char"] = "word",
    window: int = 35,
    column: str = "text",
    tested_on: Literal["test", "validation"] = "test",
    carried: bool = True,
    stream: bool | None = None,
) -> Task:
    """`word_lm` or `char_lm` of the text that the tables of the field are about.

    The text may not be passed on, so there is none here: give the folder of your own ptb.train.txt,
    ptb.valid.txt and ptb.test.txt, or a name on the hub.

    Args:
        data: a local folder whose files' names give the splits, or a name on the Hugging Face hub.
        level: words; or every character of the same files, as Bai, Kolter & Koltun 2018 read them (Mikolov's own
            ptb.char.*.txt, with spaces between the characters, differ).
        window: see `char_lm`, as are the others.
        column: the column of text.
        tested_on: the split that evaluation reads.
        carried: whether the state is handed on from one window to the next.
        stream: whether the text stays on disk.

    Raises:
        UserError: as `char_lm`; a folder that holds Mikolov's ptb.char.train.txt beside the words, as his has them: a
            split would be both.
    """
    files = [f"ptb.{kind}train.txt" for kind in ("", "char.")]
    if all(os.path.exists(os.path.join(os.path.expanduser(data), file)) for file in files):
        raise UserError(
            f"data={data!r} holds {' and '.join(files)}, which would both be read; expected a folder of one kind"
        )
    make = word_lm if level == "word" else char_lm
    return make(data, window, column, tested_on, carried=carried, stream=stream)

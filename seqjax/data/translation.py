"""Translation: a sentence is read in one language, and written in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.parallel_text import load_pairs, load_source
from seqjax.data.stored import stored_task
from seqjax.data.text import UNKNOWN, TooLong, bounded, cuts, filled, texts, train_and_test, vocabulary
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.tasks.showing import length
from seqjax.types import Array, Batch, Examples, Pair, Task, UserError

if TYPE_CHECKING:
    from datasets import Dataset

END, BEGIN = "<end>", "<begin>"
FIRST = (END, BEGIN, UNKNOWN)  # numbers 0, 1 and 2 of the target, as `models.encoder_decoder` takes them
BREAKDOWN = (10, 15)  # source lengths at which BLEU is broken down


class Sentences(NamedTuple):
    """Pairs of sentences, filled up with 0; a target ends with <end>."""

    source: Array  # [N, T] int32
    target: Array  # [N, T] int32
    source_steps: Array  # [N] int32
    target_steps: Array  # [N] int32, with <end>


def translation(
    data: str,
    source: str = "en_tok",
    target: str = "de_tok",
    min_count: int = 2,
    longest: int | None = None,
    too_long: TooLong = "refuse",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Write the target sentence of a source sentence; tokens are what stands between spaces.

    The loss is that of the next symbol given the true ones before it (teacher forcing), in nats a symbol, <end>
    among them; the score is the share of symbols so predicted. What the field reports is BLEU of what the
    network writes by itself: `python -m experiments.predict RUN_DIR` tells it, by sacrebleu on the tokens of the
    target column as they stand (tokenize='none'), and by source length. It differs from BLEU on raw text
    with sacrebleu's own tokens.

    Baseline: of a guess that knows how often each symbol occurs, and nothing else: their entropy in the rows to
    train on. Solved: never; published numbers are compared.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv); or a folder of files of
            lines, one a language, as train.en and train.de, with source='en' and target='de'.
        source: the column of texts to read, or how the names of files in that language end.
        target: of texts to write.
        min_count: how often a word must occur in the rows to train on to be one of its own, on either side.
        longest: tokens of the longest sentence on either side; None for any.
        too_long: whether longer ones are refused, or cut with a warning that tells how many; those to test on too,
            which are then graded as they are cut.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; with the row's number, a text that
            is missing, empty or too long; a min_count that no word of a side reaches.
    """

    def tokens_in(rows: Dataset, column: str, data: str) -> list[list[str]]:
        tokens = [text.split() for text in texts(rows, column, data)]
        return bounded(tokens, longest, too_long, rows, column, data)

    def read(rows: Dataset) -> list[tuple[list[str], list[str]]]:
        return list(zip(*(tokens_in(rows, column, data) for column in (source, target))))

    train, test = train_and_test(load_pairs(data, source, target), read, tested_on, test_share, data)
    reads = vocabulary((token for sentence, _ in train for token in sentence), min_count)
    writes = vocabulary((token for _, sentence in train for token in sentence), min_count, FIRST)
    for column, words, first in ((source, reads, 1), (target, writes, len(FIRST))):
        if len(words) == first:
            raise UserError(f"min_count={min_count}: no word of column {column!r} occurs so often in the rows to train "
                            "on; expected a lower one")  # fmt: skip
    number = {token: n for n, token in enumerate(writes) if n > 1}  # a text's own "<end>" is a word it does not know
    counts = np.bincount([n for _, sentence in train for n in (*(number.get(token, 2) for token in sentence), 0)])
    share = counts[counts > 0] / counts.sum()
    train, test = (_numbers(pairs, {token: n for n, token in enumerate(reads)}, number) for pairs in (train, test))

    def batch(pairs: Sentences) -> Batch:
        targets = pairs.target.T
        said = jnp.concatenate([jnp.ones_like(targets[:1]), targets[:-1]])
        mask = jnp.arange(len(targets))[:, None] < pairs.target_steps
        return Batch(Pair(pairs.source.T, said), targets, mask.astype(jnp.float32), pairs.source_steps)

    def spell(batch: Batch, answers: Array, number: int) -> list[str]:
        said = [writes[int(token)] for token in np.asarray(answers)[:, number]]
        return said[: said.index(END)] if END in said else said

    def show(batch: Batch, number: int) -> str:
        read = [reads[int(token)] for token in np.asarray(batch.inputs.source)[: length(batch, number), number]]
        return f"source   {' '.join(read)}\ntarget   {' '.join(spell(batch, batch.targets, number))}"

    def asked(sentences: list[list[str]]) -> Batch:
        place = {token: n for n, token in enumerate(reads)}
        tokens = jnp.asarray(filled([[place.get(token, 0) for token in sentence] for sentence in sentences]).T)
        steps = jnp.asarray([len(sentence) for sentence in sentences], jnp.int32)
        return Batch(Pair(tokens, jnp.ones_like(tokens)), jnp.zeros_like(tokens), jnp.zeros(tokens.shape), steps)

    steps = lambda pairs: jnp.maximum(pairs.source_steps, pairs.target_steps)  # noqa: E731
    return stored_task(
        Examples(train, test, batch, steps, cuts(np.asarray(steps(train)))),
        cross_entropy,
        accuracy,
        coding=(tuple(reads), tuple(writes)),
        input_size=len(reads),
        output_size=len(writes),
        baseline=float(-np.sum(share * np.log(share))),
        readout="decode",
        tokens=True,
        compared="BLEU",
        show=show,
        spell=spell,
        parse=lambda lines: asked([line.split() for line in lines]),
        read=lambda path: (asked(tokens_in(load_source(path, source), source, path)), None),
        grade=bleu,
    )


def bleu(truth: list[list[str]], said: list[list[str]], steps: list[int]) -> dict[str, float]:
    """BLEU of the tokens as they stand, by sacrebleu; and of the sentences of short, middle and long sources.

    A reference's word that is <unk> can be matched by no answer, which holds none; so this is BLEU against the
    words themselves. (Papineni et al. 2002; Post 2018) Raises UserError where sacrebleu is missing.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise UserError("BLEU needs sacrebleu: pip install 'seqjax[apps]'") from error
    metric = BLEU(tokenize="none", force=True)
    rows = [(" ".join(one), " ".join(other), n) for one, other, n in zip(truth, said, steps, strict=True)]
    short, middle = BREAKDOWN
    groups = {
        "BLEU": rows,
        f"BLEU 1-{short}": [row for row in rows if row[2] <= short],
        f"BLEU {short + 1}-{middle}": [row for row in rows if short < row[2] <= middle],
        f"BLEU {middle + 1}-": [row for row in rows if row[2] > middle],
    }
    score = lambda group: metric.corpus_score([r[1] for r in group], [[r[0] for r in group]]).score  # noqa: E731
    return {name: float(score(group)) for name, group in groups.items() if group}


def _numbers(pairs: list[tuple[list[str], list[str]]], reads: dict[str, int], writes: dict[str, int]) -> Sentences:
    """Both sides filled up to the longest of either, so that a batch is cut at one length."""
    longest = max(max(len(one), len(other) + 1) for one, other in pairs)
    sides = [
        [[reads.get(token, 0) for token in one] for one, _ in pairs],
        [[*(writes.get(token, 2) for token in other), 0] for _, other in pairs],
    ]
    steps = [jnp.asarray([len(sentence) for sentence in side], jnp.int32) for side in sides]
    return Sentences(*(jnp.asarray(filled(side, longest)) for side in sides), *steps)

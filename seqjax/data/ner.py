"""Named entities: which tokens name a person, a place, a product, as labels B-..., I-... and O."""

from __future__ import annotations

from typing import Literal

from seqjax.data.tagging import share_right, tagging
from seqjax.data.text import TooLong
from seqjax.types import Task, UserError


def ner(
    data: str,
    tokens: str = "tokens",
    tags: str = "tags",
    min_count: int = 2,
    lower: bool = True,
    characters: int = 16,
    longest: int | None = None,
    too_long: TooLong = "refuse",
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """As `tagging`, with labels in the BIO scheme, graded by whole entities.

    The score while training is the share of tokens whose label is right, of which most are O. The number that
    the field reports is the F1 of entities, right in kind and in both ends, over a whole split, by
    `seqeval`: `python -m experiments.predict RUN_DIR` tells it. (Tjong Kim Sang & De Meulder 2003)

    Args and errors: those of `tagging` (the last field of a .conll is called tags, as the default is); and a UserError
    for a label that is neither O nor begins with B- or I-.
    """
    task = tagging(data, tokens, tags, min_count, lower, characters, longest, too_long, tested_on, test_share)
    batches = [task.examples.batch(part) for part in (task.examples.train, task.examples.test)]
    seen = {label for each in batches for n in range(each.mask.shape[1]) for label in task.spell(each, each.targets, n)}
    if wrong := sorted(label for label in seen if label != "O" and label[:2] not in ("B-", "I-")):
        raise UserError(f"tags={tags!r}: a label {wrong[0]!r}; expected O, B-... or I-...")
    return task._replace(grade=entity_scores)


def entity_scores(truth: list[list[str]], said: list[list[str]], steps: list[int]) -> dict[str, float]:
    """Precision, recall and F1 of entities, by seqeval as CoNLL counts them. Raises UserError where it is missing."""
    try:
        from seqeval.metrics import f1_score, precision_score, recall_score
    except ImportError as error:
        raise UserError("the scores of entities need seqeval: pip install 'seqjax[apps]'") from error
    kinds = {"entity F1": f1_score, "entity precision": precision_score, "entity recall": recall_score}
    scores = {name: float(score(truth, said, zero_division=0)) for name, score in kinds.items()}
    return scores | {"accuracy": share_right(truth, said)}

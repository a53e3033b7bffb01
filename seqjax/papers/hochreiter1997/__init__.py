"""Hochreiter & Schmidhuber 1997: the long time lag tasks, by online learning, training sequences counted."""

from seqjax.papers.hochreiter1997 import experiment_1, experiment_2, experiments_3_to_6
from seqjax.papers.row import Paper

PAPER = Paper(
    "Hochreiter & Schmidhuber 1997, Long Short-Term Memory, Neural Computation 9(8)",
    experiment_1.ROWS + experiment_2.ROWS + experiments_3_to_6.ROWS,
    known="Published counts of sequences are means of 10 to 30 trials, ours medians, which one slow seed hardly moves.",
)

"""Hidden Markov models: what they are, what is inferred with them, and how they are learned."""

from seqjax.models.hmm.emissions import Categorical, Gaussian
from seqjax.models.hmm.inference import (
    HMM,
    backward,
    expectations,
    forward,
    posterior,
    predictive,
    sample,
    score,
    viterbi,
)
from seqjax.models.hmm.learning import baum_welch, count, em_step, random_hmm

__all__ = [
    "HMM",
    "Categorical",
    "Gaussian",
    "backward",
    "baum_welch",
    "count",
    "em_step",
    "expectations",
    "forward",
    "posterior",
    "predictive",
    "random_hmm",
    "sample",
    "score",
    "viterbi",
]

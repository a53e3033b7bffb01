"""Zaremba, Sutskever & Vinyals 2014: the small LSTM language model of the Penn Treebank, which has no dropout."""

from seqjax.papers.row import Paper, Row
from seqjax.spec import Spec

EPOCH = 2323  # updates: 929,589 words, <eos> among them, of which 20 parts are read 20 at a time
HALVED = Spec("piecewise_constant_schedule", {"boundaries_and_scales": {EPOCH * n: 0.5 for n in range(4, 13)}})

PAPER = Paper(
    "Zaremba, Sutskever & Vinyals 2014, Recurrent Neural Network Regularization",
    (
        Row(
            "ptb-word-small",
            "lstm(hidden=200, forget_bias=0.0, recurrent_init='uniform', recurrent_scale=0.1, input_init='uniform', "
            "input_scale=0.1)",
            "penn_treebank(data='DATA/penn_treebank', window=20)",
            "perplexity",
            114.5,
            "L2",
            {
                "optimizer": "sgd",
                "schedule": str(HALVED),
                "learning_rates": (5.0, 10.0, 20.0, 40.0),
                "batch_size": 20,
                "layers": 2,
                "embedding": 200,
                "around_scale": 0.1,
                "clip_norm": 0.25,
                "seeds": 3,
                "steps": 13 * EPOCH,
                "eval_every": EPOCH,
                "eval_size": 20,
                "probe_every": 13 * EPOCH,
                "checkpoint_every": EPOCH,
                "stop_when_solved": False,
            },
            {"steps": 2 * EPOCH, "seeds": 1, "learning_rates": (20.0,)},
            known="the authors' code gives about 115; its loss is a sum over the 20 steps where ours is their mean, so "
            "that its rate of 1 and clipping at 5 are 20 and .25 here",
        ),
    ),
)

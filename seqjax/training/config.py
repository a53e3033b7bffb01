"""What one program trains: every choice that decides its numbers, as plain values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from seqjax.training.optimizer import make_optimizer, make_schedule
from seqjax.training.penalty import make_penalty
from seqjax.types import UserError
from seqjax.unroll import find_strategy

END = 2**31  # of what 32 bits count
MOST_RUNS, MOST_LAYERS = 2**20, 1000  # both are listed one by one, before their memory can be counted


class Config(NamedTuple):
    """One cell on one task, for every learning rate and seed. Steps are updates, but online; norms are L2.

    With an eval_task the loss and the score that are measured, the criterion by which a run is solved
    and the baseline are that task's, and train_loss alone tells of the task that is trained on.

    With select_on, the name of another split of the data that are measured, a run's loss and score are
    those of the evaluation at which that split's loss was least, also where it diverges later, learning rates are
    compared by it, and a run is solved by the loss and the score of that split: none of these is chosen by what is
    measured. The parameters of that evaluation are kept beside the last.

    With online every step of a sequence at which something is asked is an update, by real-time recurrent
    learning; steps, and all that is counted in them, a schedule too, are batches of sequences then. An
    optimizer that counts (`held`) counts updates.

    Probes are made after evaluations, checkpoints between them too.

    The runs are learning_rates x seeds, learning rates outermost; seeds are first_seed and following.
    """

    cell: str
    task: str
    learning_rates: tuple[float, ...] = (1e-3,)
    seeds: int = 1
    first_seed: int = 0
    steps: int = 5000
    batch_size: int = 32
    online: bool = False
    layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    input_dropout: float = 0.0
    embedding: int | None = None
    character_width: int = 64
    around_scale: float | None = None
    attention: str = "additive"
    teacher_forcing: str | None = None
    beam: int = 1
    strategy: str = "auto"
    optimizer: str = "adam"
    schedule: str | None = None
    clip_norm: float | None = 1.0
    clip_value: float | None = None
    penalty: str | None = None
    eval_task: str | None = None
    select_on: str | None = None
    eval_every: int = 100
    eval_size: int = 1000
    probe_every: int = 500
    probe_size: int = 32
    checkpoint_every: int = 500
    stop_when_solved: bool = True
    stop_when_decided: bool = False

    @property
    def runs(self) -> list[dict[str, float]]:
        """The seed and the learning rate of every run."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [{"seed": seed, "learning_rate": rate} for rate in self.learning_rates for seed in seeds]


def single(rate: float) -> float:
    """The number of 32 bits that stands for a rate, which is what a run learns at; inf beyond them."""
    with np.errstate(over="ignore"):
        return float(np.float32(rate))


def check(config: Config) -> Config:
    """The same Config if its numbers make sense. Raises UserError naming the flag, value and remedy."""
    least = {"seeds": 1, "first_seed": 0, "steps": 0, "batch_size": 1, "eval_every": 1, "eval_size": 1}
    least |= {"probe_every": 1, "probe_size": 1, "checkpoint_every": 1}
    for name, bound in least.items():
        value = getattr(config, name)
        if value < bound:
            raise UserError(f"--{name}={value}; expected at least {bound}")
    if config.first_seed + config.seeds > END:
        raise UserError(f"--first_seed={config.first_seed}; expected seeds below {END}")
    runs = config.seeds * len(config.learning_rates)
    if runs > MOST_RUNS:
        counted = f"--seeds={config.seeds} times {len(config.learning_rates)} of --learning_rates are {runs} runs"
        raise UserError(f"{counted}; expected at most {MOST_RUNS}")
    if config.layers > MOST_LAYERS:
        raise UserError(f"--layers={config.layers}; expected at most {MOST_LAYERS}")
    if config.steps >= END:
        raise UserError(f"--steps={config.steps}; expected fewer than {END}")
    for rate in config.learning_rates:
        if not 0 < single(rate) < math.inf:
            raise UserError(
                f"--learning_rates has {rate}; expected positive numbers that 32 bits hold, as in 1e-3,3e-3"
            )
    if not config.learning_rates or len(set(map(single, config.learning_rates))) < len(config.learning_rates):
        shown = ",".join(map(str, config.learning_rates))
        raise UserError(f"--learning_rates={shown}; expected one or more numbers, each once (32 bits tell 7 digits)")
    for name in ("clip_norm", "clip_value"):
        bound = getattr(config, name)
        if bound is not None and not bound > 0:
            none = ", or 0 for no clipping" * (name == "clip_norm")
            raise UserError(f"--{name}={bound}; expected a positive number{none}")
    make_optimizer(config.optimizer, config.clip_norm, config.clip_value)
    make_schedule("--schedule", config.schedule)
    make_schedule("--teacher_forcing", config.teacher_forcing)
    make_penalty(config.penalty)
    try:
        find_strategy(config.strategy)
    except UserError as error:
        raise UserError(f"--{error}") from error
    return config

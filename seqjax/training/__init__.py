"""Training: state, step, loop, evaluation, checkpoints and the run directory."""

from seqjax.training.building import build_cell, build_task
from seqjax.training.config import Config
from seqjax.training.loop import train
from seqjax.training.preparing import Prepared, prepare

__all__ = ["Config", "Prepared", "build_cell", "build_task", "prepare", "train"]

"""What kernels for the standard LSTM ask for: its form, one dtype, and an NVIDIA GPU."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTMForm, lstm_step
from seqjax.types import Cell, PyTree


def not_standard(cell: Cell) -> str | None:
    """None for the LSTM with all its gates, tanh and no more; otherwise what it is in the place of that."""
    step = cell.step
    if not (isinstance(step, functools.partial) and step.func is lstm_step):
        named = getattr(step, "func", step)
        return f"takes this package's lstm alone, not {getattr(named, '__qualname__', named)!r}"
    standard = LSTMForm()
    other = [f"{name}={value!r}" for name, value in step.args[0]._asdict().items() if value != getattr(standard, name)]
    return f"takes the standard LSTM alone, not {', '.join(other)}" if other else None


def dtypes_of(*trees: PyTree) -> list[str]:
    """The dtypes of all leaves, each once."""
    return sorted({str(jnp.result_type(leaf)) for leaf in jax.tree.leaves(trees)})


def not_nvidia() -> str | None:
    """None where programs run on an NVIDIA GPU."""
    platform = jax.default_backend()
    if platform == "gpu" and "rocm" in jax.devices()[0].client.platform_version:
        platform = "GPU by AMD"
    return None if platform in ("gpu", "cuda") else f"needs an NVIDIA GPU, and this is a {platform}"

"""How long it takes until something runs: imports, compilation by length and by depth, and a second start."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any

import jax
import jax.numpy as jnp

from experiments.timing import compiled
from seqjax import unroll
from seqjax.cells.lstm import lstm
from seqjax.models import sequence_model
from seqjax.types import PyTree

IMPORTS = """
import time
a = time.perf_counter()
import jax
b = time.perf_counter()
import seqjax
print(b - a, time.perf_counter() - b)
"""
TINY = ["--cell=lstm(hidden=16)", "--task=adding(length=50)", "--steps=2", "--eval_every=2", "--eval_size=8"]


def times(repeats: int) -> dict[str, Any]:
    """Seconds of each, in processes of their own where a process is what starts."""
    imports = [[float(word) for word in _python(IMPORTS).split()] for _ in range(repeats)]
    return {
        "import jax": [jax for jax, _ in imports],
        "import seqjax beyond it": [more for _, more in imports],
        **{f"gradient, T={steps}": [_layer(steps) for _ in range(repeats)] for steps in (100, 10_000)},
        **{f"gradient, {depth} layers": [_stack(depth) for _ in range(repeats)] for depth in (1, 2, 4)},
        **dict(zip(("experiment, first start", "experiment, second start"), zip(*(_starts() for _ in range(repeats))))),
    }


def _layer(steps: int) -> float:
    cell, shape = lstm(64), jax.ShapeDtypeStruct((steps, 8, 2), jnp.float32)
    params = jax.eval_shape(lambda key: cell.init(key, 2), jax.random.key(0))
    return compiled(jax.grad(lambda params, xs: jnp.sum(unroll(cell, params, xs)[1] ** 2)), params, shape)[1]


def _stack(depth: int) -> float:
    model, shape = sequence_model(lstm(64), 2, 1, layers=depth), jax.ShapeDtypeStruct((100, 8, 2), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0))

    def loss(params: PyTree, xs: jax.Array) -> jax.Array:
        return jnp.sum(model.apply(params, xs)[0] ** 2)

    return compiled(jax.grad(loss), params, shape)[1]


def _starts() -> tuple[float, float]:
    """The same training of two steps twice, the compilation cache empty at first."""
    with tempfile.TemporaryDirectory() as place:
        run = f"import os, time; os.environ['XDG_CACHE_HOME'] = {place!r}; a = time.perf_counter(); "
        run += "from experiments import train; train.main({!r}); print(); print(time.perf_counter() - a)"
        first, second = (
            float(_python(run.format([*TINY, f"--workdir={place}/{name}"])).splitlines()[-1]) for name in "ab"
        )
    return first, second


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

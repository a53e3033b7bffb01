"""Gradient norms over time: what a figure draws and a table tells of the adjoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.adjoints import model_adjoints
from seqjax.gradients.scaled import Scaled, log_norm
from seqjax.types import Array, Batch, Model, PyTree

LN10 = math.log(10)


class GradientNorms(NamedTuple):
    """log10 of ‖dL/d carry‖, the mean over sequences, for each component of the carry.

    log10_norm:    name -> [T]; 'carry' is all components of all layers together, the others are
                   named as 'layer_0/h', with two directions 'layer_0/forward/h'. -inf is an exact zero;
                   NaN at a step that no sequence has.
    first_to_last: scalar, log10 of the norm at the first step relative to that at the last valid one;
                   NaN where both are zero.
    """

    log10_norm: dict[str, Array]
    first_to_last: Array


def gradient_norms(model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array]) -> GradientNorms:
    """How the gradient of the loss falls or grows over the time steps, on one batch.

    At each step t the Euclidean norm of dL/ds_{t-1} is taken for each sequence, with L that
    sequence's loss, and the norms are averaged over the sequences that have a step t (averaging
    gradients first would let signs cancel). All of it in logarithms: nothing underflows.
    """
    every = model_adjoints(model, params, batch, loss)
    logs: dict[str, Array] = {}
    for depth, layer in enumerate(every):
        for number, delta in enumerate(layer):
            place = way_name(depth, number, len(layer))
            for name, component in components(delta.value).items():
                logs[f"{place}/{name}"] = log_norm(component, delta.log)
    whole = 0.5 * jax.nn.logsumexp(2 * jnp.stack(list(logs.values())), 0)
    logs = {"carry": whole, **logs}
    steps = jnp.arange(whole.shape[0])
    lengths = batch.lengths
    valid = None if lengths is None else steps[:, None] < lengths
    last = whole[-1] if lengths is None else whole[lengths - 1, jnp.arange(whole.shape[1])]
    return GradientNorms(
        {name: log_mean(log, valid) / LN10 for name, log in logs.items()},
        (log_mean(whole[0], None) - log_mean(last, None)) / LN10,
    )


def log10_norms(delta: Scaled) -> dict[str, Array]:
    """log10 ‖δ_t‖ of adjoints by component of the carry, each [T, B]; -inf is an exact zero."""
    return {name: log_norm(part, delta.log) / LN10 for name, part in components(delta.value).items()}


def way_name(depth: int, number: int, ways: int) -> str:
    """'layer_0', or with two directions 'layer_0/forward' and 'layer_0/backward'."""
    return f"layer_{depth}" if ways == 1 else f"layer_{depth}/{('forward', 'backward')[number]}"


def components(tree: PyTree, alone: str = "state") -> dict[str, Array]:
    """The leaves of a carry by the field names of its NamedTuple, or by their places; `alone`, the name of an array."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        named[jax.tree_util.keystr(path, simple=True, separator=".") or alone] = leaf
    return named


def log_mean(log: Array, valid: Array | None) -> Array:
    """ln of the mean over the last axis of exp(log), over the valid places; NaN where there is none."""
    if valid is None:
        return jax.nn.logsumexp(log, -1) - jnp.log(log.shape[-1])
    total = jax.nn.logsumexp(jnp.where(valid, log, -jnp.inf), -1)
    return jnp.where(jnp.any(valid, -1), total - jnp.log(jnp.sum(valid, -1)), jnp.nan)

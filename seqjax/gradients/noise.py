"""How noisy the gradient is, and how often it is clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.norms import LN10, components
from seqjax.gradients.scaled import Scaled, log_norm
from seqjax.types import Array, PyTree, UserError


class SignalToNoise(NamedTuple):
    """The gradient's mean over sequences against its variance, by time step.

    ratio:       name -> [T], the estimate of ‖μ_t‖² / tr Σ_t
    log10_mean:  name -> [T], log10 ‖mean_b δ_t‖
    log10_noise: name -> [T], log10 of the square root of the estimate of tr Σ_t
    The names are 'carry' and the carry's components, as in `gradient_norms`.
    """

    ratio: dict[str, Array]
    log10_mean: dict[str, Array]
    log10_noise: dict[str, Array]


def signal_to_noise(delta: Scaled, lengths: Array | None = None) -> SignalToNoise:
    """Per-step signal-to-noise ratio of the adjoints over the sequences of a batch.

        δ̄_t = mean_b δ_t^b,    v_t = Σ_b ‖δ_t^b - δ̄_t‖² / (n_t - 1),    ratio_t = (‖δ̄_t‖² - v_t / n_t) / v_t

    n_t is the number of sequences that have a step t. v_t is an unbiased estimate of tr Σ_t, and the
    numerator one of ‖μ_t‖², as E ‖δ̄_t‖² = ‖μ_t‖² + tr Σ_t / n_t; so it can be below zero where there
    is little signal. NaN where fewer than two sequences have the step or all adjoints are zero, inf where they all
    agree to rounding.
    One over the ratio is the batch size at which noise and signal are even. (McCandlish et al. 2018,
    "An empirical model of large-batch training", appendix A)

    Args:
        delta: the adjoints, leaves [T, B, ...], as `adjoints` gives.
        lengths: [B] steps that exist.

    Raises:
        UserError: fewer than two sequences.
    """
    steps, batch = delta.log.shape
    if batch < 2:
        raise UserError(f"{batch} sequence in the batch; a variance over sequences needs at least 2")
    valid = jnp.ones((steps, batch), bool) if lengths is None else jnp.arange(steps)[:, None] < jnp.asarray(lengths)
    count = jnp.sum(valid, 1)

    def measure(value: PyTree) -> tuple[Array, Array, Array]:
        size = jnp.where(valid, log_norm(value, delta.log), -jnp.inf)
        top = jnp.max(size, 1)
        top = jnp.where(jnp.isfinite(top), top, 0.0)
        half = jnp.exp(jnp.where(size == -jnp.inf, -jnp.inf, (delta.log - top[:, None]) / 2))
        mean_square, spread = 0.0, 0.0
        for leaf in jax.tree.leaves(value):
            leaf = leaf.reshape(steps, batch, -1) * half[..., None] * half[..., None]
            mean = jnp.sum(leaf, 1) / count[:, None]
            mean_square += jnp.sum(mean**2, -1)
            spread += jnp.sum(jnp.where(valid[..., None], (leaf - mean[:, None]) ** 2, 0.0), (1, 2))
        rounding = (2 * jnp.finfo(spread.dtype).eps) ** 2
        spread = jnp.where(spread > count * mean_square * rounding, spread, 0.0)  # of equal numbers the mean is rounded
        variance = spread / (count - 1)
        ratio = (mean_square - variance / count) / variance
        ratio = jnp.where(count > 1, ratio, jnp.nan)
        log_mean = top + 0.5 * jnp.log(mean_square)
        log_noise = jnp.where(count > 1, top + 0.5 * jnp.log(variance), jnp.nan)
        return ratio, log_mean / LN10, log_noise / LN10

    found = {name: measure(part) for name, part in {"carry": delta.value, **components(delta.value)}.items()}
    return SignalToNoise(*({name: parts[k] for name, parts in found.items()} for k in range(3)))


def batch_gradient_norms(loss: Callable[[PyTree, PyTree], Array], params: PyTree, batches: PyTree) -> Array:
    """log10 of the gradient's norm over all parameters on each of N batches, [N].

    Args:
        loss: (params, batch) -> scalar, the mean loss that training differentiates.
        params: its parameters.
        batches: a pytree of batches (or of keys to sample them with), the first axis counts them.
    """

    def one(batch: PyTree) -> Array:
        return log_norm(jax.grad(loss)(params, batch), jnp.zeros(())) / LN10

    return jax.lax.map(one, batches)


def clip_fraction(log10_norms: Array, threshold: float) -> Array:
    """The share of batches whose gradient norm exceeds a threshold, so that clipping by norm acts.

    Args:
        log10_norms: [N], as `batch_gradient_norms` gives; the share is NaN where one of them is.
        threshold: the norm that gradients are clipped to.

    Raises:
        UserError: a threshold of 0 or below, or NaN.
    """
    if not threshold > 0:
        raise UserError(f"threshold={threshold}; expected more than 0")
    exceeds = log10_norms > jnp.log10(jnp.asarray(threshold, log10_norms.dtype))
    return jnp.mean(jnp.where(jnp.isnan(log10_norms), jnp.nan, exceeds))

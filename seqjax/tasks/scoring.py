"""Losses and scores over a batch's mask, for the shapes [T, B, ...] and [B, ...] alike."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from seqjax.types import Array, Batch, UserError

ROUNDING = 1e-6  # of a share of float32, as a program that knows how many there are multiplies where it should divide


def masked_mean(values: Array, mask: Array) -> Array:
    """Σ mask·values / Σ mask."""
    return jnp.sum(values * mask) / jnp.maximum(jnp.sum(mask), 1)


def at_least(score: Array, share: float) -> Array:
    """Whether a share is reached, as by 99 of 100 right that of .99, which float32 may have a little less."""
    return score > share - ROUNDING


def above(score: Array, share: float) -> Array:
    """Whether a share is exceeded, which 99 of 100 do not that of .99."""
    return score > share + ROUNDING


def squared_error(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of Σ_o (output - target)². Raises UserError where the targets have another shape."""
    if outputs.shape != batch.targets.shape:  # [B] beside [B, 1] would be taken for [B, B]
        raise UserError(
            f"targets {list(batch.targets.shape)} for outputs {list(outputs.shape)}; expected the same shape"
        )
    return masked_mean(jnp.sum((outputs - batch.targets) ** 2, -1), batch.mask)


def cross_entropy(outputs: Array, batch: Batch) -> Array:
    """Mean over the mask of -log softmax(output)[target], in nats."""
    return masked_mean(optax.softmax_cross_entropy_with_integer_labels(outputs, batch.targets), batch.mask)


def accuracy(outputs: Array, batch: Batch) -> Array:
    """Share of the mask's places whose largest output is the target."""
    return masked_mean(jnp.argmax(outputs, -1) == batch.targets, batch.mask)


def sequence_accuracy(outputs: Array, batch: Batch) -> Array:
    """Share of the sequences [B] without one wrong place in the mask; outputs [T, B, O]."""
    return whole_sequences(jnp.argmax(outputs, -1) == batch.targets, batch.mask)


def whole_sequences(right: Array, mask: Array) -> Array:
    """Share of the sequences that are right [T, B] at every step of the mask; those without one do not count."""
    return masked_mean(jnp.all(right | (mask == 0), 0), jnp.any(mask > 0, 0))

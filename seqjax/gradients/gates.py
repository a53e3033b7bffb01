"""What the gates of a cell do: how open they are, how saturated, and how they scale the gradient's path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.taps import observed
from seqjax.gradients.states import ends_of
from seqjax.types import Array, Direction, PyTree, UserError
from seqjax.unroll import unroll

LOW, HIGH = 0.1, 0.9


class GateStatistics(NamedTuple):
    """One gate over the T steps that exist, B sequences and H units.

    mean:        mean of its values
    below:       share of its values below .1, saturated closed
    above:       share above .9, saturated open
    slope:       mean of g (1 - g), by which it scales a gradient that goes through its own sum a if g = σ(a)
    unit_mean:   [H] each unit's mean over time; so unit_below, unit_above
    time_mean:   [T] each step's mean over units; so time_below, time_above, time_slope; NaN at a
                 step that no sequence has
    histogram:   [bins] share of its values in equal bins from 0 to 1; these sum to 1
    log10_path:  [T] by lag l: mean over units and sequences of Σ log10 g over the last l steps read.
                 Of a gate that keeps the state (forget, a GRU's update) it is how the direct path
                 ∂c_T/∂c_{T-l} = Π g scales the gradient. NaN at a lag that no sequence has.
    """

    mean: Array
    below: Array
    above: Array
    slope: Array
    unit_mean: Array
    unit_below: Array
    unit_above: Array
    time_mean: Array
    time_below: Array
    time_above: Array
    time_slope: Array
    histogram: Array
    log10_path: Array


def gates(
    way: Direction,
    xs: Array,
    lengths: Array | None = None,
    *,
    carry: PyTree | None = None,
    names: Sequence[str] | None = None,
    bins: int = 20,
) -> dict[str, GateStatistics]:
    """`gate_statistics` of every gate of a cell: name -> statistics; {} of a cell without gates."""
    values = gate_values(way, xs, lengths, carry=carry, names=names)
    return {name: gate_statistics(value, lengths, way.reverse, bins) for name, value in values.items()}


def gate_values(
    way: Direction,
    xs: Array,
    lengths: Array | None = None,
    *,
    carry: PyTree | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Array]:
    """The gates at every step: name -> [T, B, H], 0 at the padding.

    Gates are the taps whose names end in '_gate', and the sigmoids of a cell without taps
    ('sigmoid_0' ...); a cell that has neither gives {}.

    Args:
        way: the cell, its parameters, and its direction.
        xs: inputs [T, B, D].
        lengths: [B] steps that exist.
        carry: the carry to start from; the cell's initial carry if None.
        names: taps to read in the place of these.

    Raises:
        UserError: a name that the cell does not tap.
    """
    cell = observed(way.cell)
    each = cell._replace(step=jax.vmap(cell.step, (None, 0, 0)))  # so that a gate that is the same for all has B values
    _, (seen, _) = unroll(each, way.params, xs, carry, lengths=lengths, reverse=way.reverse)
    for name in names or ():
        if name not in seen:
            raise UserError(f"the cell has no tap {name!r}; expected of {', '.join(seen) or 'none: it has no taps'}")
    if names is None:
        names = [name for name in seen if name.endswith("_gate") or name.startswith("sigmoid_")]
    return {name: seen[name] for name in names}


def gate_statistics(
    values: Array, lengths: Array | None = None, reverse: bool = False, bins: int = 20
) -> GateStatistics:
    """Statistics of one gate's values [T, B, H] in [0, 1], over the steps that exist.

    Saturation, below .1 and above .9, is that of Karpathy, Johnson & Fei-Fei (2015), section 4.2.

    Args:
        values: as `gate_values` gives; a gate of one number [T, B] is one unit.
        lengths: [B] steps that exist.
        reverse: the sequence was read from its last valid step to its first.
        bins: bars of the histogram.

    Raises:
        UserError: fewer than one bin.
    """
    if bins < 1:
        raise UserError(f"bins={bins}; expected at least 1")
    values = values.reshape(*values.shape[:2], -1)
    steps, _, units = values.shape
    counts = ends_of(lengths, steps, values.shape[1])
    valid = jnp.broadcast_to((jnp.arange(steps)[:, None] < counts)[..., None], values.shape)
    here = jnp.sum(valid, (1, 2))

    def mean(value: Array, axes: tuple[int, ...]) -> Array:
        return jnp.sum(jnp.where(valid, value, 0), axes) / (jnp.sum(counts) if axes == (0, 1) else here)

    below, above, slope = values < LOW, values > HIGH, values * (1 - values)
    by_unit = [mean(each, (0, 1)) for each in (values, below, above, slope)]
    by_time = [mean(each, (1, 2)) for each in (values, below, above, slope)]
    place = jnp.clip(values * bins, 0, bins - 1).astype(jnp.int32)
    filled = jnp.bincount(place.ravel(), valid.ravel().astype(jnp.int32), length=bins)  # exact, of any number
    return GateStatistics(
        *(jnp.mean(each) for each in by_unit),
        *by_unit[:3],
        *by_time,
        filled / (jnp.sum(counts) * units),
        log10_path(values, counts, reverse),
    )


def log10_path(values: Array, counts: Array, reverse: bool) -> Array:
    """Mean over units, and sequences longer than l, of Σ log10 of a gate [T, B, H] over the last l steps read: [T].

    -inf where a gate was exactly 0, as in float32 a sigmoid below 1e-38 is.
    """
    lags = jnp.arange(values.shape[0])[:, None]
    steps = jnp.broadcast_to(lags, values.shape[:2]) if reverse else jnp.maximum(counts - 1 - lags, 0)
    logs = jnp.take_along_axis(jnp.mean(jnp.log10(values), -1), steps, 0)
    logs = jnp.where(lags < counts, logs, 0.0)
    path = jnp.concatenate([jnp.zeros_like(logs[:1]), jnp.cumsum(logs, 0)[:-1]])
    return jnp.sum(jnp.where(lags < counts, path, 0.0), 1) / jnp.sum(lags < counts, 1)

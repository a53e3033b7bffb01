"""How strongly the last output depends on the input of every step, and the memory horizon that this implies."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.gradients.adjoints import record, through
from seqjax.gradients.norms import LN10
from seqjax.gradients.scaled import Scaled, log_norm
from seqjax.gradients.states import ends_of
from seqjax.types import Array, Direction, Layers, UserError

EXACT_UNITS = 256  # outputs, each of which costs the exact norm one backward pass
HELD = 2**24  # numbers of ∂y/∂x, for all the outputs pulled back at a time


def input_sensitivity(
    layers: Direction | Layers,
    xs: Array,
    lengths: Array | None = None,
    *,
    probes: int | None = None,
    key: Array | None = None,
) -> Array:
    """log10 of the Frobenius norm ‖∂y_T/∂x_t‖ for every t, [T, B]; -inf at the padding.

        ‖J_t‖_F² = Σ_k ‖J_tᵀ e_k‖²  exact,      ≈ (H/m) Σ_{j≤m} ‖J_tᵀ q_j‖²  with m probes,      J_t = ∂y_T/∂x_t

    One backward pass a unit k of the output, rescaled at every step so that nothing underflows. The
    probes q_j are orthonormal and of random direction: the squared norm is then unbiased, and exact
    at m = H; its relative standard deviation is at most sqrt(2 (H-m) / (m (H+2))), which is reached
    where J_t has rank one, as it nearly has at long lags. With 16 probes that is about .35 (a .08
    in log10 of the norm). (Hutchinson 1990)

    Args:
        layers: a Direction, or a stack as `model.layers(params)` gives. y_T is the top's output at
            the step that it reads last, both directions' side by side.
        xs: what the lowest layer reads [T, B, D]; of a model, `model.encode(params, inputs)`.
        lengths: [B] steps that exist.
        probes: m, from 1 to the H outputs; None for the exact norm, up to EXACT_UNITS outputs.
        key: for the directions of the probes.

    Raises:
        UserError: too many outputs for the exact norm, probes out of range or without a key.
    """
    layers = ((layers,),) if isinstance(layers, Direction) else layers
    tapes, ys = record(layers, xs, lengths)
    length, batch, width = ys.shape
    if probes is None and width > EXACT_UNITS:
        raise UserError(
            f"{width} outputs; the exact sensitivity takes up to {EXACT_UNITS}, so give probes=16 and a key"
        )
    if probes is not None and not 1 <= probes <= width:
        raise UserError(f"probes={probes}; expected from 1 to the {width} outputs, or None for the exact norm")
    if probes is not None and key is None:
        raise UserError(f"probes={probes} have random directions; give a key")
    seeds = jnp.eye(width, dtype=ys.dtype)
    if probes is not None:
        directions = jax.random.orthogonal(key, width, dtype=jnp.promote_types(ys.dtype, jnp.float32))
        seeds = (math.sqrt(width / probes) * directions[:probes]).astype(ys.dtype)
    steps = jnp.arange(length)[:, None]
    last = ends_of(lengths, length, batch) - 1
    read_last = [jnp.broadcast_to(steps == (0 if way.reverse else last), (length, batch)) for way in layers[-1]]
    places = jnp.repeat(jnp.stack(read_last, -1), width // len(read_last), -1)

    def log_of(seed: Array) -> Array:
        bar = Scaled(places * seed, jnp.zeros((length, batch), ys.dtype))
        for layer, (inputs, carries) in zip(reversed(layers), reversed(tapes)):
            _, bar = through(layer, inputs, carries, bar, lengths)
        return log_norm(bar.value, bar.log)

    logs = jax.lax.map(log_of, seeds, batch_size=max(1, min(len(seeds), HELD // xs.size)))
    return 0.5 * jax.nn.logsumexp(2 * logs, 0) / LN10


class Horizons(NamedTuple):
    """How many steps back a network remembers, by the measures there are; inf is for ever.

    fall_e, fall_100: the lag at which the sensitivity has fallen by e and by 100
    gate:             [H] 1/(1-f) of each unit, or None where no gate was given
    lyapunov:         -1/λ₁, or None where no exponent was given
    """

    fall_e: Array
    fall_100: Array
    gate: Array | None
    lyapunov: Array | None


def horizons(curve: Array, keep: Array | None = None, exponent: float | Array | None = None) -> Horizons:
    """The memory horizon of a curve of sensitivity beside those of the gates and of Lyapunov.

    A unit that keeps f of its state a step forgets with the time constant 1/(1-f), and a perturbation
    that shrinks as exp(λ₁ t) with -1/λ₁. (Gers et al. 2000; Tallec & Ollivier 2018, section 2; Engelken et al. 2023)

    Args:
        curve: log10 of the sensitivity [L] (or [L, B]), from lag 0 on, as `mean_log10(by_lag(...))`.
        keep: [H] mean over time of the gate that keeps the state: 'forget_gate' of an LSTM,
            'update_gate' of a GRU; see `gates`.
        exponent: λ₁, the largest Lyapunov exponent in nats a step; at 0 or above, the horizon is inf, of NaN NaN.
    """
    gate = None if keep is None else 1 / (1 - keep)
    lyapunov = None if exponent is None else jnp.where(jnp.asarray(exponent) >= 0, jnp.inf, -1 / jnp.asarray(exponent))
    return Horizons(memory_horizon(curve, math.e), memory_horizon(curve, 100.0), gate, lyapunov)


def memory_horizon(curve: Array, factor: float) -> Array:
    """The first lag at which a curve of log10 [L, ...] has fallen by the factor from its value at lag 0.

    Between two lags the curve is taken as a straight line in log10. inf where it never falls so far
    within the lags there are (NaN stands for a lag that is not there); NaN where it begins at zero.

    Raises:
        UserError: a factor of 1 or below.
    """
    if factor <= 1:
        raise UserError(f"factor={factor}; expected more than 1")
    target = curve[0] - math.log10(factor)
    below = curve <= target
    first = jnp.argmax(below, 0)
    at = jnp.take_along_axis(curve, first[None], 0)[0]
    before = jnp.take_along_axis(curve, jnp.maximum(first - 1, 0)[None], 0)[0]
    crossing = first - 1 + (before - target) / jnp.where(before == at, 1.0, before - at)
    return jnp.where(jnp.isfinite(curve[0]), jnp.where(jnp.any(below, 0), crossing, jnp.inf), jnp.nan)

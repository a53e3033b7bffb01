"""Everything the laboratory measures of one model on one batch, as curves that a report can draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from seqjax.cells.taps import filling
from seqjax.gradients.adjoints import model_adjoints, record
from seqjax.gradients.curse import SENSITIVITY_LIMIT, sensitivities
from seqjax.gradients.gates import gates
from seqjax.gradients.lag import by_lag, mean_log10, model_step_gradients
from seqjax.gradients.lyapunov import WARMUP, lyapunov
from seqjax.gradients.noise import signal_to_noise
from seqjax.gradients.norms import components
from seqjax.gradients.sensitivity import horizons, input_sensitivity
from seqjax.gradients.singular import singular_values
from seqjax.gradients.spectra import effective_rank
from seqjax.gradients.states import ends_of, flat_size
from seqjax.gradients.truncation import truncation
from seqjax.types import Array, Batch, Model, PyTree
from seqjax.unroll import recording, unroll

QUANTITIES = ("spectrum", "lyapunov", "lag", "sensitivity", "gates", "noise", "truncation", "curse")
SEQUENCES = 4  # read for the spectrum and the sensitivity, which cost many passes


def flow(
    model: Model,
    params: PyTree,
    batch: Batch,
    loss: Callable[[Array, Batch], Array],
    quantities: Sequence[str] = QUANTITIES,
    leading: int = 6,
    layer: int = 0,
) -> dict[str, dict[str, Array]]:
    """The quantities of one layer's (forward) cell, each a name -> array; without parameters, no lag or truncation.

    spectrum:    'lags' [L]; 'log10_singular_values' [L, k], mean over sequences that are as long, of ∂s_T/∂s_{T-lag};
                 'effective_rank' [L], of those k alone
    lyapunov:    'exponents' [k] in nats a step; 'running' [T, k], their estimates so far, NaN past the longest sequence
                 and within the warm-up, a tenth of each sequence's steps
    lag:         parameter block -> [T], log10 of ‖contribution to ∂L/∂W‖ by lag, mean over sequences
    sensitivity: 'log10_by_lag' [T] of ‖∂y_T/∂x_{T-lag}‖; 'fall_e' and 'fall_100', the memory horizons
    gates:       gate -> [T], its mean over units and sequences; with '/closed' and '/open' the shares
                 below .1 and above .9, and '/horizon' the median over units of 1/(1 - its mean), or of
                 1/(its mean) of a gate that fills; see `tap`
    noise:       'log10_mean' and 'log10_noise' [T] of the carry's adjoints, 'ratio' [T] of their squares
    truncation:  'windows' [K]; 'cosine' and 'log10_ratio' [K] of the truncated gradient to the full one, of all
                 layers' cells together
    curse:       component -> [T], log10 of its mean square; 'component/parameter' -> [T], that of its
                 derivative, for the parameters that are small enough (few biases in a wide cell)

    Args:
        model, params, batch, loss: as for `gradient_norms`; dropout off.
        quantities: which of QUANTITIES.
        leading: k, singular values and exponents.
        layer: which, from 0; it is measured on what the layers below it give.
    """
    layers, lengths = model.layers(params), batch.lengths
    _, xs = record(layers[:layer], model.encode(params, batch.inputs), lengths)
    way = layers[layer][0]
    _, (carries, ys) = unroll(recording(way.cell), way.params, xs, lengths=lengths)
    count = min(SEQUENCES, xs.shape[1])
    few = lambda tree, axis: jax.tree.map(lambda leaf: jax.lax.slice_in_dim(leaf, 0, count, axis=axis), tree)  # noqa: E731
    few_lengths = None if lengths is None else lengths[:SEQUENCES]
    k = min(leading, flat_size(way.cell, way.params))
    found: dict[str, dict[str, Array]] = {}
    if not jax.tree.leaves(way.params):
        quantities = [each for each in quantities if each not in ("lag", "truncation")]
    if "spectrum" in quantities:
        steps = xs.shape[0]
        lags = sorted({*(4**n for n in range(steps.bit_length()) if 4**n < steps), steps})
        fan = singular_values(way, few(carries, 1), few(xs, 1), few_lengths, lags=lags, k=k, oversample=4, iterations=4)
        exists = fan.lags[:, None] <= ends_of(few_lengths, steps, count)
        found["spectrum"] = {
            "lags": fan.lags,
            "log10_singular_values": jnp.mean(fan.log10, 1, where=exists[..., None]),
            "effective_rank": jnp.mean(effective_rank(fan.log10), 1, where=exists),
        }
    exponent = None
    if "lyapunov" in quantities:
        spectrum = lyapunov(way, carries, xs, lengths, k=k, warmup=WARMUP)
        exponent = spectrum.maximal
        exists = jnp.arange(xs.shape[0]) < jnp.max(ends_of(lengths, *xs.shape[:2]))
        found["lyapunov"] = {
            "exponents": spectrum.mean,
            "running": jnp.where(exists[:, None], spectrum.running, jnp.nan),
        }
    if "lag" in quantities:
        steps_parts = model_step_gradients(model, params, batch, loss)[layer][0]
        found["lag"] = {
            name: mean_log10(by_lag(log10, lengths), lengths) for name, log10 in steps_parts.log10_norm.items()
        }
    measured = gates(way, xs, lengths) if "gates" in quantities else {}
    if measured:
        found["gates"] = {}
        fills = filling(way.cell, way.params, jax.tree.map(lambda leaf: leaf[0], carries), xs[0])
        for name, gate in measured.items():
            curves = {name: gate.time_mean, f"{name}/closed": gate.time_below, f"{name}/open": gate.time_above}
            lost = gate.unit_mean if name in fills else 1 - gate.unit_mean
            found["gates"] |= curves | {f"{name}/horizon": jnp.median(1 / lost)}
    if "sensitivity" in quantities:
        probes, key = min(8, ys.shape[-1]), jax.random.key(0)
        log10 = input_sensitivity(way, few(xs, 1), few_lengths, probes=probes, key=key)
        curve = mean_log10(by_lag(log10, few_lengths), few_lengths)
        horizon = horizons(curve, exponent=exponent)
        found["sensitivity"] = {"log10_by_lag": curve, "fall_e": horizon.fall_e, "fall_100": horizon.fall_100}
    if "noise" in quantities:
        deltas = model_adjoints(model, params, batch, loss)[layer][0]
        noise = signal_to_noise(deltas, lengths)
        found["noise"] = {name: curves["carry"] for name, curves in noise._asdict().items()}
    if "truncation" in quantities:
        windows = [2**n for n in range(0, xs.shape[0].bit_length(), 2) if 2**n < xs.shape[0]] or [1]
        found["truncation"] = truncation(model, params, batch, loss, windows)._asdict()
    if "curse" in quantities:
        limit = SENSITIVITY_LIMIT // 8 // flat_size(way.cell, way.params)
        small = [name for name, leaf in components(way.params, "params").items() if 0 < leaf.size <= limit]
        grown = sensitivities(way, few(carries, 1), few(xs, 1), few_lengths, leaves=small)
        found["curse"] = grown.states | grown.parameters
    return found

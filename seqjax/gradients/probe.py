"""What is looked at again and again while a model trains: adjoints, gates, spectral radius, Lyapunov exponent."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from seqjax.gradients.adjoints import record
from seqjax.gradients.blocks import lstm_form
from seqjax.gradients.gates import gates
from seqjax.gradients.lyapunov import WARMUP, lyapunov
from seqjax.gradients.norms import GradientNorms, components, gradient_norms, way_name
from seqjax.gradients.spectra import spectral_radius
from seqjax.types import Array, Batch, Model, PyTree


class Probe(NamedTuple):
    """One look at a model; layers and directions are named as in `gradient_norms`.

    norms:           the gradient norms over time
    gates:           'layer_0/forget_gate' -> [3]: mean over units, steps and sequences; shares below .1, above .9
    spectral_radius: 'layer_0/w_h' -> [m] of each square block of a recurrent matrix [H, m·H] named w_h; none of an
                     LSTM whose cells share their gates, where the blocks are not square
    exponent:        'layer_0' -> scalar, the maximal Lyapunov exponent in nats a step
    """

    norms: GradientNorms
    gates: dict[str, Array]
    spectral_radius: dict[str, Array]
    exponent: dict[str, Array]


def probe(model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array]) -> Probe:
    """Look at a model on one batch; the arguments are those of `gradient_norms`. No matrix is decomposed."""
    layers, lengths = model.layers(params), batch.lengths
    tapes, _ = record(layers, model.encode(params, batch.inputs), lengths)
    opened: dict[str, Array] = {}
    radii: dict[str, Array] = {}
    exponents: dict[str, Array] = {}
    for depth, (layer, (xs, tape)) in enumerate(zip(layers, tapes)):
        for number, (way, carries) in enumerate(zip(layer, tape)):
            place = way_name(depth, number, len(layer))
            for name, gate in gates(way, xs, lengths).items():
                opened[f"{place}/{name}"] = jnp.stack([gate.mean, gate.below, gate.above])
            form = lstm_form(way.cell)
            matrices = components(way.params) if form is None or form.block_size == 1 else {}
            for name, leaf in matrices.items():
                if name.split(".")[-1] == "w_h" and leaf.ndim == 2 and leaf.shape[1] % leaf.shape[0] == 0:
                    radii[f"{place}/{name}"] = spectral_radius(leaf, "squaring")
            exponents[place] = lyapunov(way, carries, xs, lengths, k=1, warmup=WARMUP).maximal
    return Probe(gradient_norms(model, params, batch, loss), opened, radii, exponents)

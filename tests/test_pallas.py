"""The pallas strategy without a GPU: its kernels interpreted, that they lower to Triton, and what is refused."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise, random_carry, random_params

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm

T, B, D, H = 4, 3, 2, 3
LSTM = lstm(H)
MODULE = importlib.import_module("seqjax.unroll.pallas_lstm")
INTERPRETED = "pallas(interpret=True)"
# Small programs that run once: compiling them well is most of the time.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def point(dtype=jnp.float64, batch=(B,), seed=0):
    """Parameters, inputs, a carry and a nudge, none of them zero."""
    params, xs = random_params(LSTM, dtype, D, seed), noise(1, T, *batch, D).astype(dtype)
    nudge = jax.tree.map(lambda leaf: (0.1 * noise(3, *leaf.shape)).astype(dtype), zero_nudge(LSTM, params, xs))
    return params, xs, random_carry(LSTM, params, *batch), nudge


def loss_of(strategy, lengths=None, reverse=False):
    """A loss in which every output and every component of the last carry counts."""

    def loss(params, xs, carry, nudge):
        end, ys = unroll(LSTM, params, xs, carry, lengths=lengths, reverse=reverse, nudge=nudge, strategy=strategy)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(end.h)) + jnp.sum(end.c**2)

    return loss


def test_derivatives_are_the_plain_scans(float64):
    """Gradient, forward mode, and second order, forward over reverse, of padded sequences with a nudge."""
    at, lengths = point(), np.array([T, 1, 3])
    along = jax.tree.map(lambda leaf: noise(9, *leaf.shape), at)

    def derivatives(strategy):
        slopes = jax.value_and_grad(loss_of(strategy, lengths), (0, 1, 2, 3))
        return jax.jvp(slopes, at, along)

    scan, pallas = (jit(derivatives, static_argnums=0)(strategy) for strategy in ("scan", INTERPRETED))
    close(pallas, scan)


def test_a_network_a_seed():
    """vmap over parameters and inputs of more than a block, in float32, padded, in reverse and without a nudge."""
    lengths = np.broadcast_to([T, 1, 3], (6, B))
    seeds = [point(jnp.float32, (6, B), seed)[:3] for seed in range(2)]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)

    def slopes(strategy):
        loss = loss_of(strategy, lengths, reverse=True)
        return jax.vmap(jax.value_and_grad(lambda *at: loss(*at, None), (0, 1, 2)))

    scan, pallas = (jit(slopes(strategy))(*together) for strategy in ("scan", INTERPRETED))
    close(pallas, scan, 1e-5)


def test_products_in_bfloat16():
    """Close to what 'fused' gives with its products rounded, and float32 as before."""
    at = point(jnp.float32)
    fused, pallas = (
        jit(jax.value_and_grad(loss_of(strategy), (0, 1, 2, 3)))(*at)
        for strategy in ("fused(compute='bfloat16')", "pallas(interpret=True, compute='bfloat16')")
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(pallas)} == {jnp.dtype(jnp.float32)}
    close(pallas[0], fused[0], 1e-5)
    close(pallas[1], fused[1], 3e-2)  # on a CPU the kernel alone rounds adjoints as well


def test_everything_in_bfloat16():
    """Values to its precision; the gradient's dtypes."""
    at = point(jnp.bfloat16)
    scan, pallas = (jit(loss_of(strategy))(*at) for strategy in ("scan", INTERPRETED))
    close(pallas, scan, 2e-2)
    slopes = jax.eval_shape(jax.grad(loss_of(INTERPRETED), (0, 1, 2, 3)), *at)
    assert {leaf.dtype for leaf in jax.tree.leaves(slopes)} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize("hidden, compute", [(50, ""), (128, "(compute='bfloat16')")])
def test_the_kernels_lower_to_triton(hidden, compute, monkeypatch):
    """A gradient's program for a GPU, as far as it is made without one, has a kernel forwards and one backwards."""
    monkeypatch.setattr(MODULE, "not_nvidia", lambda: None)
    cell = lstm(hidden)
    params = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    xs, lengths = jax.ShapeDtypeStruct((5, 20, D), jnp.float32), jax.ShapeDtypeStruct((20,), jnp.int32)

    def loss(params, xs, lengths):
        nudge = zero_nudge(cell, params, xs)
        return jnp.sum(unroll(cell, params, xs, lengths=lengths, nudge=nudge, strategy=f"pallas{compute}")[1])

    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H100", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device)):
        text = jax.jit(jax.grad(loss)).trace(params, xs, lengths).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("triton") == 2 and "stablehlo.while" not in text


def test_no_steps_at_all():
    params, xs, carry, _ = point(jnp.float32)
    end, ys = unroll(LSTM, params, xs[:0], carry, strategy=INTERPRETED)
    close(end, carry, 0)
    assert ys.shape == (0, B, H)


REFUSED = {
    "needs an NVIDIA GPU, and this is a cpu; strategy='auto' runs here": (LSTM, "pallas"),
    "takes this package's lstm alone, not 'gru_step'": (gru(H), INTERPRETED),
    "takes the standard LSTM alone, not peepholes=True": (lstm(H, peepholes=True), INTERPRETED),
    "hidden=65 in float32 is 256 KiB of recurrent weights, and a multiprocessor keeps 128": (lstm(65), INTERPRETED),
    "hidden=129 in bfloat16 is 512 KiB": (lstm(129), "pallas(interpret=True, compute='bfloat16')"),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refusals(says):
    cell, strategy = REFUSED[says]
    params = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((T, B, D), jnp.float32)
    with pytest.raises(UserError, match=f"strategy='pallas': .*{says}"):
        jax.eval_shape(lambda params, xs: unroll(cell, params, xs, strategy=strategy), params, xs)

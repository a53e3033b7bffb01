"""A recurrent layer as calls to be timed: how any layer in JAX becomes one, this project's, and its products alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.timing import bytes_of, compiled
from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import rnn
from seqjax.types import Array, Cell, PyTree
from seqjax.unroll.products import product

CELLS = {"lstm": lstm, "gru": gru, "rnn": rnn}
KINDS = ("forward", "gradient", "step", "steps", "probe")
TOGETHER = 4  # of "steps"
NO_PROBE = ("cudnn",)  # has no gradient of every carry
PRODUCTS = "products alone"
RATE = 1e-3


class Problem(NamedTuple):
    """A layer to run: a cell of CELLS, its parameters, inputs [T, B, D]."""

    kind: str
    cell: Cell
    params: PyTree
    xs: Array


class Way(NamedTuple):
    """One implementation of it: by each of KINDS that it has, a call that returns when its result is there.

    forward:  () -> ys [T, B, H]
    gradient: () -> (Σ ys², its gradient with respect to this project's parameters)
    probe:    () -> the same with the gradient of every carry
    step:     () -> that gradient and an update of the parameters by Adam
    steps:    TOGETHER of these; in JAX one program of them, as `seqjax.training` has it
    seconds:  of tracing and compiling, by kind; empty where nothing is compiled
    bytes:    temporary and results, by kind, where the compiler tells
    """

    calls: dict[str, Callable[[], Any]]
    seconds: dict[str, float]
    bytes: dict[str, int]


def problem(kind: str, size: tuple[int, int, int, int]) -> Problem:
    """A layer of size (T, B, D, H) with the weights that it begins with."""
    steps, batch, inputs, hidden = size
    cell = CELLS[kind](hidden)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(steps, batch, inputs)), jnp.float32)
    return Problem(kind, cell, cell.init(jax.random.key(0), inputs), xs)


def from_layer(layer: Callable[[PyTree, Array], Array], given: Problem, kinds: Sequence[str]) -> Way:
    """A layer in JAX that takes this project's parameters and turns them, in the program, into its own."""
    return from_gradient(layer, jax.value_and_grad(lambda *at: jnp.sum(layer(*at) ** 2)), given, kinds)


def from_gradient(layer: Callable, gradient: Callable, given: Problem, kinds: Sequence[str]) -> Way:
    """The same of a layer and what is to be timed as its gradient, (params, xs) -> (value, slopes)."""
    optimizer, at = optax.adam(RATE), (given.params, given.xs)
    state = optimizer.init(given.params)

    def step(params: PyTree, state: PyTree, xs: Array) -> tuple[PyTree, PyTree]:
        updates, state = optimizer.update(gradient(params, xs)[1], state)
        return optax.apply_updates(params, updates), state

    def steps(params: PyTree, state: PyTree, xs: Array) -> tuple[PyTree, PyTree]:
        return jax.lax.scan(lambda carry, _: (step(*carry, xs), None), (params, state), None, length=TOGETHER)[0]

    functions = {"forward": (layer, at), "gradient": (gradient, at)}
    functions |= {"step": (step, (given.params, state, given.xs)), "steps": (steps, (given.params, state, given.xs))}
    way = Way({}, {}, {})
    for kind in kinds:
        if kind in functions:
            way = _with(way, kind, *functions[kind])
    return way


def own(given: Problem, strategy: str, kinds: Sequence[str]) -> Way:
    """This project's `unroll`."""
    cell = given.cell

    def loss(params: PyTree, xs: Array, nudge: PyTree | None) -> Array:
        return jnp.sum(unroll(cell, params, xs, nudge=nudge, strategy=strategy)[1] ** 2)

    def layer(params: PyTree, xs: Array) -> Array:
        return unroll(cell, params, xs, strategy=strategy)[1]

    way = from_layer(layer, given, kinds)
    if "probe" not in kinds or strategy in NO_PROBE:
        return way
    at = given.params, given.xs, zero_nudge(cell, given.params, given.xs)
    return _with(way, "probe", jax.value_and_grad(loss, (0, 2)), at)


def split(given: Problem, kinds: Sequence[str]) -> Way:
    """The fused strategy with the batch over all devices, as `--mesh=data=2` has it: of a CPU, its cores."""
    devices, batch = jax.device_count(), given.xs.shape[1]
    if devices < 2 or batch % devices:
        raise UserError(f"a batch of {batch} on {devices} device{'s' * (devices > 1)} cannot be split")
    mesh, share = jax.make_mesh((devices,), ("data",)), P(None, "data")

    def layer(params: PyTree, xs: Array) -> Array:
        own = lambda params, xs: unroll(given.cell, params, xs, strategy="fused")[1]  # noqa: E731
        return jax.shard_map(own, mesh=mesh, in_specs=(P(), share), out_specs=share, check_vma=False)(params, xs)

    params = jax.device_put(given.params, NamedSharding(mesh, P()))
    xs = jax.device_put(given.xs, NamedSharding(mesh, share))
    return from_layer(layer, given._replace(params=params, xs=xs), kinds)


def products(given: Problem, kinds: Sequence[str]) -> Way:
    """No layer: the matrix products that one cannot do without, one after the other as they must be, and no more.

    Forward x_t W_x + h_{t-1} W_h for each t; backwards a_t W_hᵀ for each t, and Σ_t x_tᵀ a_t and Σ_t h_{t-1}ᵀ a_t, a
    product each. The biases' slope is where the loop backwards ends: of what nobody asks for XLA makes nothing, and an
    update asks for slopes alone.
    What a layer takes beside them is its own; below them only faster products lead.
    """
    steps, batch, _ = given.xs.shape
    hidden = given.params.w_h.shape[0]

    def forward(params: PyTree, xs: Array) -> Array:
        def step(h: Array, x: Array) -> tuple[Array, Array]:
            a = product(x, params.w_x) + product(h, params.w_h)
            return a[:, :hidden], a

        return jax.lax.scan(step, jnp.zeros((batch, hidden)), xs)[1]

    def gradient(params: PyTree, xs: Array) -> tuple[Array, PyTree]:
        a = forward(params, xs)
        end, _ = jax.lax.scan(lambda h, a: ((a + h[:, :1]) @ params.w_h.T, None), jnp.zeros((batch, hidden)), a)
        flat, before = (
            a.reshape(steps * batch, -1),
            jnp.concatenate([jnp.zeros((1, batch, hidden)), a[:-1, :, :hidden]]),
        )
        w_x, w_h = (rows.reshape(steps * batch, -1).T @ flat for rows in (xs, before))
        return jnp.sum(a), params._replace(w_x=w_x, w_h=w_h, b=jnp.full_like(params.b, jnp.sum(end)))

    return from_gradient(forward, gradient, given, kinds)


def _with(way: Way, kind: str, function: Callable, at: tuple[PyTree, ...]) -> Way:
    """A way with one more kind of call, compiled."""
    program, seconds = compiled(function, *at)
    call = lambda: jax.block_until_ready(program(*at))  # noqa: E731
    return Way(way.calls | {kind: call}, way.seconds | {kind: seconds}, way.bytes | {kind: bytes_of(program)})

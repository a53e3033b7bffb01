"""The recurrent layers that a user would pick instead, on this project's weights: to compare with and to time."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.timing import bytes_of, compiled
from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.types import Array, Cell, PyTree
from seqjax.unroll import STRATEGIES

CELLS = {"lstm": lstm, "gru": gru}
KINDS = ("forward", "gradient", "step", "probe")
NO_PROBE = ("cudnn",)  # has no gradient of every carry
SPLIT = "batch split"
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


def ways(given: Problem, only: Sequence[str] = (), kinds: Sequence[str] = KINDS) -> dict[str, Way | str]:
    """All of them by name, or those whose names begin so; in the place of one that is not there, why."""
    layers = {"hand-written lax.scan": hand_written, "flax.linen": linen, "haiku": haiku, "equinox": equinox}
    named: dict[str, Callable[[], Way]] = {
        **{f"seqjax {strategy}": functools.partial(own, given, strategy, kinds) for strategy in STRATEGIES},
        f"seqjax fused, {SPLIT}": lambda: split(given, kinds),
        **{name: lambda layer=layer: from_layer(layer(given), given, kinds) for name, layer in layers.items()},
        "torch": lambda: torch(given),
    }
    named = {name: make for name, make in named.items() if not only or name.startswith(tuple(only))}
    found: dict[str, Way | str] = {}
    for name, make in named.items():
        try:
            found[name] = make()
        except (UserError, ModuleNotFoundError) as error:
            found[name] = str(error)
    return found


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
    return _with(way, "probe", jax.value_and_grad(loss, (0, 2)), *at)


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


def from_layer(layer: Callable[[PyTree, Array], Array], given: Problem, kinds: Sequence[str]) -> Way:
    """A layer in JAX that takes this project's parameters and turns them, in the program, into its own."""
    at, way, optimizer = (given.params, given.xs), Way({}, {}, {}), optax.adam(RATE)
    gradient = jax.value_and_grad(lambda *at: jnp.sum(layer(*at) ** 2))

    def step(params: PyTree, xs: Array, state: PyTree) -> tuple[PyTree, PyTree]:
        updates, state = optimizer.update(gradient(params, xs)[1], state)
        return optax.apply_updates(params, updates), state

    if "forward" in kinds:
        way = _with(way, "forward", layer, *at)
    if "gradient" in kinds:
        way = _with(way, "gradient", gradient, *at)
    if "step" in kinds:
        way = _with(way, "step", step, *at, optimizer.init(given.params))
    return way


def _with(way: Way, kind: str, function: Callable, *at: PyTree) -> Way:
    """A way with one more kind of call, compiled."""
    program, seconds = compiled(function, *at)
    call = lambda: jax.block_until_ready(program(*at))  # noqa: E731
    return Way(way.calls | {kind: call}, way.seconds | {kind: seconds}, way.bytes | {kind: bytes_of(program)})


def hand_written(given: Problem) -> Callable[[PyTree, Array], Array]:
    """What one writes in ten lines, input products before the loop."""

    def lstm_layer(params: PyTree, xs: Array) -> Array:
        def step(carry: tuple[Array, Array], a: Array) -> tuple[tuple[Array, Array], Array]:
            h, c = carry
            i, f, g, o = jnp.split(a + h @ params.w_h, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zeros = jnp.zeros((xs.shape[1], params.w_h.shape[0]))
        return jax.lax.scan(step, (zeros, zeros), xs @ params.w_x + params.b)[1]

    def gru_layer(params: PyTree, xs: Array) -> Array:
        def step(h: Array, a: Array) -> tuple[Array, Array]:
            (r, z, n), (r_h, z_h, n_h) = jnp.split(a, 3, -1), jnp.split(h @ params.w_h, 3, -1)
            r, z = jax.nn.sigmoid(r + r_h), jax.nn.sigmoid(z + z_h)
            h = (1 - z) * jnp.tanh(n + r * (n_h + params.b_n)) + z * h
            return h, h

        return jax.lax.scan(step, jnp.zeros((xs.shape[1], params.w_h.shape[0])), xs @ params.w_x + params.b)[1]

    return {"lstm": lstm_layer, "gru": gru_layer}[given.kind]


def linen(given: Problem) -> Callable[[PyTree, Array], Array]:
    """`flax.linen.RNN` of OptimizedLSTMCell or GRUCell."""
    module = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}[given.kind](given.params.w_h.shape[0])
    blocks = {"lstm": "ifgo", "gru": "rzn"}[given.kind]
    rnn = nn.RNN(module, time_major=True)

    def layer(params: PyTree, xs: Array) -> Array:
        w_x, w_h, b = (jnp.split(leaf, len(blocks), -1) for leaf in (params.w_x, params.w_h, params.b))
        theirs = {f"i{name}": {"kernel": kernel} for name, kernel in zip(blocks, w_x)}
        theirs |= {f"h{name}": {"kernel": kernel} for name, kernel in zip(blocks, w_h)}
        for name, bias in zip(blocks, b):
            theirs[f"{'h' if given.kind == 'lstm' else 'i'}{name}"]["bias"] = bias
        if given.kind == "gru":
            theirs["hn"]["bias"] = params.b_n
        return rnn.apply({"params": {"cell": theirs}}, xs)

    return layer


def haiku(given: Problem) -> Callable[[PyTree, Array], Array]:
    """`haiku.dynamic_unroll` of `haiku.LSTM`."""
    if given.kind == "gru":
        raise UserError("haiku's GRU applies its reset gate before the product: another equation")
    hk = importlib.import_module("haiku")

    def run(xs: Array) -> Array:
        core = hk.LSTM(given.params.w_h.shape[0])
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    apply = hk.without_apply_rng(hk.transform(run)).apply

    def layer(params: PyTree, xs: Array) -> Array:
        i, f, g, o = jnp.split(jnp.concatenate([params.w_x, params.w_h, params.b[None]]), 4, -1)
        w = jnp.concatenate([i, g, f, o], -1)
        width = o.shape[-1]
        b = w[-1] - jnp.repeat(jnp.array([0.0, 0.0, 1.0, 0.0]), width)  # haiku adds 1 to the forget gate
        return apply({"lstm/linear": {"w": w[:-1], "b": b}}, xs)

    return layer


def equinox(given: Problem) -> Callable[[PyTree, Array], Array]:
    """`equinox.nn.LSTMCell` or GRUCell under `lax.scan`, vmapped over the batch as it takes one sequence."""
    eqx = importlib.import_module("equinox")
    hidden, inputs = given.params.w_h.shape[0], given.xs.shape[-1]
    cell = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[given.kind](inputs, hidden, key=jax.random.key(0))

    def layer(params: PyTree, xs: Array) -> Array:
        leaves = [params.w_x.T, params.w_h.T, params.b] + ([params.b_n] if given.kind == "gru" else [])
        where = lambda c: [c.weight_ih, c.weight_hh, c.bias] + ([c.bias_n] if given.kind == "gru" else [])  # noqa: E731
        mine = eqx.tree_at(where, cell, leaves)

        def step(carry: PyTree, x: Array) -> tuple[PyTree, Array]:
            carry = jax.vmap(mine)(x, carry)
            return carry, carry[0] if given.kind == "lstm" else carry

        zeros = jnp.zeros((xs.shape[1], hidden))
        return jax.lax.scan(step, (zeros, zeros) if given.kind == "lstm" else zeros, xs)[1]

    return layer


def torch(given: Problem) -> Way:
    """`torch.nn.LSTM` or GRU on the CPU, with as many threads as it takes by itself."""
    torch = importlib.import_module("torch")
    params, copied = given.params, lambda leaf: torch.tensor(np.asarray(leaf))
    hidden, inputs = params.w_h.shape[0], given.xs.shape[-1]
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[given.kind](inputs, hidden)
    xs = copied(given.xs)
    with torch.no_grad():
        module.weight_ih_l0.copy_(copied(params.w_x).T)
        module.weight_hh_l0.copy_(copied(params.w_h).T)
        module.bias_ih_l0.copy_(copied(params.b))
        module.bias_hh_l0.zero_()
        if given.kind == "gru":
            module.bias_hh_l0[2 * hidden :] = copied(params.b_n)

    def forward() -> np.ndarray:
        with torch.no_grad():
            return module(xs)[0].numpy()

    def gradient() -> tuple[float, PyTree]:
        module.zero_grad()
        loss = (module(xs)[0] ** 2).sum()
        loss.backward()
        w_x, w_h, b, b_h = (leaf.grad.numpy() for leaf in module.parameters())
        slopes = params._replace(w_x=w_x.T, w_h=w_h.T, b=b)
        return loss.item(), slopes._replace(b_n=b_h[2 * hidden :]) if given.kind == "gru" else slopes

    optimizer = torch.optim.Adam(module.parameters(), lr=0.0)  # whatever the rate, the same work

    def step() -> None:
        gradient()
        optimizer.step()

    return Way({"forward": forward, "gradient": gradient, "step": step}, {}, {})

"""The recurrent layers that a user would pick instead, on this project's weights: to compare with and to time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from experiments import torch_peers
from experiments.ways import KINDS, PRODUCTS, Problem, Way, from_layer, own, products, split
from seqjax import UserError
from seqjax.types import Array, PyTree
from seqjax.unroll import STRATEGIES


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

    def rnn_layer(params: PyTree, xs: Array) -> Array:
        def step(h: Array, a: Array) -> tuple[Array, Array]:
            h = jnp.tanh(a + h @ params.w_h)
            return h, h

        return jax.lax.scan(step, jnp.zeros((xs.shape[1], params.w_h.shape[0])), xs @ params.w_x + params.b)[1]

    return {"lstm": lstm_layer, "gru": gru_layer, "rnn": rnn_layer}[given.kind]


def linen(given: Problem) -> Callable[[PyTree, Array], Array]:
    """`flax.linen.RNN` of OptimizedLSTMCell, GRUCell or SimpleCell."""
    modules = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "rnn": nn.SimpleCell}
    module = modules[given.kind](given.params.w_h.shape[0])
    blocks = {"lstm": [*"ifgo"], "gru": [*"rzn"], "rnn": [""]}[given.kind]
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
    others = {"gru": "GRU applies its reset gate before the product", "rnn": "VanillaRNN has relu for tanh"}
    if given.kind in others:
        raise UserError(f"haiku's {others[given.kind]}: another equation")
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
    if given.kind == "rnn":
        raise UserError("equinox has no plain recurrent cell")
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


LAYERS = {"hand-written lax.scan": hand_written, "flax.linen": linen, "haiku": haiku, "equinox": equinox}


# name -> (problem, kinds) -> Way
MAKERS: dict[str, Callable[[Problem, Sequence[str]], Way]] = {
    **{
        f"seqjax {strategy}": lambda given, kinds, strategy=strategy: own(given, strategy, kinds)
        for strategy in STRATEGIES
    },
    "seqjax fused, batch split": lambda given, kinds: split(given, kinds),
    **{
        name: lambda given, kinds, layer=layer: from_layer(layer(given), given, kinds) for name, layer in LAYERS.items()
    },
    "torch": lambda given, kinds: torch_peers.torch(given),
    "FlashRNN": lambda given, kinds: torch_peers.flashrnn(given),
    PRODUCTS: lambda given, kinds: products(given, kinds),
    f"{PRODUCTS}, torch": lambda given, kinds: torch_peers.products(given),
}


def names(only: Sequence[str]) -> list[str]:
    """Of all ways those whose names begin so; all if empty. Raises UserError where there are none."""
    found = [name for name in MAKERS if not only or name.startswith(tuple(only))]
    if not found:
        raise UserError(f"--only={','.join(only)}; expected how names begin: {', '.join(MAKERS)}")
    return found


def ways(given: Problem, only: Sequence[str] = (), kinds: Sequence[str] = KINDS) -> dict[str, Way | str]:
    """All ways by name, or those whose names begin so; in the place of one that is not there, why."""
    return {name: way_of(name, given, kinds) for name in names(only)}


def way_of(name: str, given: Problem, kinds: Sequence[str] = KINDS) -> Way | str:
    """The way of that name, or why it is not there."""
    try:
        return MAKERS[name](given, kinds)
    except (UserError, ModuleNotFoundError) as error:
        return str(error)

"""The recurrent layers that a user would pick instead, on this project's weights: to compare with and to time."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from experiments.ways import KINDS, PRODUCTS, TOGETHER, Problem, Way, from_layer, own, products, split
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


def torch(given: Problem) -> Way:
    """`torch.nn.LSTM`, GRU or RNN on the CPU, with as many threads as it takes by itself."""
    torch = importlib.import_module("torch")
    params, copied = given.params, lambda leaf: torch.tensor(np.asarray(leaf))
    hidden, inputs = params.w_h.shape[0], given.xs.shape[-1]
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[given.kind](inputs, hidden)
    xs = copied(given.xs)
    with torch.no_grad():
        module.weight_ih_l0.copy_(copied(params.w_x).T)
        module.weight_hh_l0.copy_(copied(params.w_h).T)
        module.bias_ih_l0.copy_(copied(params.b))
        module.bias_hh_l0.zero_()
        if given.kind == "gru":
            module.bias_hh_l0[2 * hidden :] = copied(params.b_n)

    def slopes(w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray, b_h: np.ndarray) -> PyTree:
        found = params._replace(w_x=w_x.T, w_h=w_h.T, b=b)
        return found._replace(b_n=b_h[2 * hidden :]) if given.kind == "gru" else found

    return _in_torch(lambda: module(xs)[0], list(module.parameters()), slopes)


def flashrnn(given: Problem, backend: str = "cuda_fused") -> Way:
    """FlashRNN's fused kernel, in float32. (Pöppel, Beck & Hochreiter 2024)

    backend='vanilla' is its own reference in torch, which runs without a GPU.
    """
    if given.kind == "rnn":
        raise UserError("is compared as lstm and gru")
    torch, flash = importlib.import_module("torch"), importlib.import_module("flashrnn").flashrnn
    if backend != "vanilla" and not torch.cuda.is_available():
        raise UserError("needs an NVIDIA GPU")
    device = "cpu" if backend == "vanilla" else "cuda"
    xs, *leaves = (torch.tensor(np.asarray(leaf), device=device) for leaf in (given.xs, *_present(given.params)))
    for leaf in leaves:
        leaf.requires_grad_()
    (steps, batch, _), hidden = given.xs.shape, given.params.w_h.shape[0]

    def layer() -> Any:
        w_x, w_h, b, *of_n = leaves
        from_x, recurrent = (xs @ w_x).view(steps, batch, -1, 1, hidden), w_h.T.view(-1, 1, hidden, hidden)
        bias = b.view(-1, 1, hidden)
        if of_n:  # the GRU's n, of which h alone is reset, stands before r and z and again, for x, behind them
            recurrent, bias = recurrent[[2, 0, 1]], torch.cat([of_n[0].view(1, 1, hidden), bias])
        states, _ = flash(
            from_x.transpose(0, 1), recurrent, bias, function=given.kind, backend=backend, dtype="float32"
        )
        return states[0, :, :, 0].transpose(0, 1)

    def slopes(*found: np.ndarray) -> PyTree:
        return given.params._replace(**dict(zip(("w_x", "w_h", "b", "b_n"), found)))

    way = _in_torch(layer, leaves, slopes)
    try:
        way.calls["gradient"]()
    except (AssertionError, RuntimeError, ValueError) as error:  # widths and batches that it is not made for
        raise UserError((str(error).splitlines() or [type(error).__name__])[0]) from error
    return way


def _present(params: PyTree) -> list[Array]:
    return [leaf for leaf in (params.w_x, params.w_h, params.b, getattr(params, "b_n", None)) if leaf is not None]


def _in_torch(layer: Callable[[], Any], leaves: list[Any], slopes: Callable[..., PyTree]) -> Way:
    """A layer () -> ys [T, B, H] of torch with parameters `leaves`, whose gradients `slopes` turns into ours."""
    torch = importlib.import_module("torch")
    optimizer = torch.optim.Adam(leaves, lr=0.0)  # whatever the rate, the same work

    def forward() -> np.ndarray:
        with torch.no_grad():
            return layer().cpu().numpy()

    def gradient() -> tuple[float, PyTree]:
        optimizer.zero_grad()
        loss = (layer() ** 2).sum()
        loss.backward()
        return loss.item(), slopes(*(leaf.grad.cpu().numpy() for leaf in leaves))

    def step() -> None:
        gradient()
        optimizer.step()

    def steps() -> None:
        for _ in range(TOGETHER):
            step()

    return Way({"forward": forward, "gradient": gradient, "step": step, "steps": steps}, {}, {})


def torch_products(given: Problem) -> Way:
    """`products` by `torch.matmul`: what another library's product of matrices gives on the same machine."""
    torch = importlib.import_module("torch")
    steps, batch, inputs = given.xs.shape
    w = torch.cat([torch.tensor(np.asarray(leaf)) for leaf in (given.params.w_x, given.params.w_h)])
    rows = torch.zeros((steps, batch, len(w)))
    a = torch.zeros((steps, batch, w.shape[1]))

    def forward() -> None:
        for step in range(steps):
            torch.matmul(rows[step], w, out=a[step])

    def gradient() -> None:
        forward()
        back = w[inputs:].T
        for step in range(steps):
            torch.matmul(a[step], back)
        torch.matmul(rows.flatten(0, 1).T, a.flatten(0, 1))

    return Way({"forward": forward, "gradient": gradient}, {}, {})


LAYERS = {"hand-written lax.scan": hand_written, "flax.linen": linen, "haiku": haiku, "equinox": equinox}


def ways(given: Problem, only: Sequence[str] = (), kinds: Sequence[str] = KINDS) -> dict[str, Way | str]:
    """All ways by name, or those whose names begin so; in the place of one that is not there, why."""
    named: dict[str, Callable[[], Way]] = {
        **{f"seqjax {strategy}": functools.partial(own, given, strategy, kinds) for strategy in STRATEGIES},
        "seqjax fused, batch split": lambda: split(given, kinds),
        **{name: lambda layer=layer: from_layer(layer(given), given, kinds) for name, layer in LAYERS.items()},
        "torch": lambda: torch(given),
        "FlashRNN": lambda: flashrnn(given),
        PRODUCTS: lambda: products(given, kinds),
        f"{PRODUCTS}, torch": lambda: torch_products(given),
    }
    named = {name: make for name, make in named.items() if not only or name.startswith(tuple(only))}
    found: dict[str, Way | str] = {}
    for name, make in named.items():
        try:
            found[name] = make()
        except (UserError, ModuleNotFoundError) as error:
            found[name] = str(error)
    return found

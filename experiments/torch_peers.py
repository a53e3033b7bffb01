"""The peers that are made of torch: its own layer, FlashRNN, and the bare products of matrices."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.ways import TOGETHER, Problem, Way
from seqjax import UserError
from seqjax.types import Array, PyTree


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

    def slopes(w_x: Any, w_h: Any, b: Any, b_h: Any) -> PyTree:
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

    def slopes(*found: Any) -> PyTree:
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
    """A layer () -> ys [T, B, H] of torch with parameters `leaves`, whose gradients `slopes` turns into ours.

    As of JAX's ways, what a call gives is there, on the device where it was made, and nowhere else.
    """
    torch = importlib.import_module("torch")
    optimizer = torch.optim.Adam(leaves, lr=0.0)  # whatever the rate, the same work

    def forward() -> Any:
        with torch.no_grad():
            return layer()

    def gradient() -> tuple[Any, PyTree]:
        optimizer.zero_grad()
        loss = (layer() ** 2).sum()
        loss.backward()
        return loss.detach(), slopes(*(leaf.grad for leaf in leaves))

    def step() -> None:
        gradient()
        optimizer.step()

    def steps() -> None:
        for _ in range(TOGETHER):
            step()

    def awaited(call: Callable[[], Any]) -> Any:
        found = call()
        if leaves[0].is_cuda:
            torch.cuda.synchronize()
        return found

    calls = {"forward": forward, "gradient": gradient, "step": step, "steps": steps}
    return Way({kind: functools.partial(awaited, call) for kind, call in calls.items()}, {}, {})


def products(given: Problem) -> Way:
    """`ways.products` by `torch.matmul`: what another library's product of matrices gives on the same machine."""
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

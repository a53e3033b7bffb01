"""The net of noise-free lag 2a of Hochreiter & Schmidhuber (1997), against a NumPy loop of the paper's equations."""

import jax
import numpy as np
import pytest

from experiments.rows import config_of, registry
from seqjax.training.building import build

(ROW,) = (row for row in registry()["hochreiter1997"].rows if row.name == "noise-free-lag-2a")
P = 6


def paper_loop(weights, tokens, targets):
    """The slopes of a sequence's mean error by the paper's appendix A.1: derivatives of the state, carried forwards.

    weights: to the outputs from the inputs and from the cell, to the cell, to its gate; the gate's bias
    """
    from_inputs, from_cell, to_cell, to_gate, bias = weights
    squash = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    slopes = [np.zeros_like(each) for each in weights[:4]]
    state, of_cell, of_gate = 0.0, np.zeros_like(to_cell), np.zeros_like(to_gate)
    for token, target in zip(tokens, targets):
        x = np.eye(len(to_cell))[token]
        half, gate = squash(to_cell @ x), squash(to_gate @ x + bias)
        g = 4 * half - 2
        state = state + gate * g
        of_cell = of_cell + gate * 4 * half * (1 - half) * x
        of_gate = of_gate + g * gate * (1 - gate) * x
        y = squash(x @ from_inputs + state * from_cell)
        error = 2 * (y - np.eye(len(y))[target]) * y * (1 - y) / len(tokens)
        slopes[0] += np.outer(x, error)
        slopes[1] += error * state
        slopes[2] += (error @ from_cell) * of_cell
        slopes[3] += (error @ from_cell) * of_gate
    return slopes


@pytest.fixture
def net(float64):
    """The row's task and model at a length of 6, parameters that are all drawn but the biases, and a batch of one."""
    config = config_of(ROW, "full")._replace(task=ROW.task.replace("length=100", f"length={P}"))
    task, model = build(config)
    params = jax.tree.map(np.asarray, model.init(jax.random.key(0)))
    cell = params["layer_0"][0]
    draw = np.random.default_rng(0).normal
    params["layer_0"] = (cell._replace(w_x=draw(size=cell.w_x.shape)), *params["layer_0"][1:])
    params["around"]["head"]["kernel"] = draw(size=params["around"]["head"]["kernel"].shape)
    return task, model, params, task.sample(jax.random.key(1), 1)


def test_its_gradient_is_the_papers(net):
    """Where nothing is recurrent but the cell's state, the truncated gradient is the full one."""
    task, model, params, batch = net
    found = jax.jit(jax.grad(lambda p: task.loss(model.apply(p, batch.inputs, None)[0], batch)))(params)
    w_x, kernel = params["layer_0"][0].w_x, params["around"]["head"]["kernel"]
    assert kernel.shape == (1 + P + 1, P + 1) and not params["layer_0"][0].w_h.any()
    weights = kernel[1:], kernel[0], w_x[:, 1], w_x[:, 0], params["layer_0"][0].b[0]
    from_inputs, from_cell, to_cell, to_gate = paper_loop(weights, batch.inputs[:, 0], batch.targets[:, 0])
    np.testing.assert_allclose(found["around"]["head"]["kernel"], np.vstack([from_cell, from_inputs]), rtol=1e-9)
    np.testing.assert_allclose(found["layer_0"][0].w_x, np.stack([to_gate, to_cell], 1), rtol=1e-9)
    assert weights[4] == -5.0 and np.abs(to_gate).max() > 0


def test_its_weights_are_the_papers_10504():
    config = config_of(ROW, "full")
    model = build(config)[1]
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.eval_shape(model.init, jax.random.key(0)))
    }
    held = [name for name in sizes if name in config.optimizer]
    assert sorted(held) == ["around/head/bias", "layer_0/0/b", "layer_0/0/w_h"]
    assert sum(size for name, size in sizes.items() if name not in held) == 10_504

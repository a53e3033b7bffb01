"""The classical cells against the same networks made by others: Flax and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise, random_params
from flax import linen as nn

from seqjax import unroll
from seqjax.cells.gru import GRUCarry, GRUParams, gru
from seqjax.cells.linen import linen
from seqjax.cells.lstm import LSTMCarry, LSTMParams, lstm
from seqjax.cells.rnn import RNNCarry, RNNParams, rnn
from seqjax.models import sequence_model

T, B, D, H = 7, 3, 5, 4
run = jax.jit(unroll, static_argnums=0)
pytestmark = pytest.mark.usefixtures("float64")


def value_and_slopes(network, params, xs):
    """Carry and outputs, and the gradients of a loss that reads all of them, for parameters and inputs."""
    weight = noise(9, T, B, H)

    def loss(params, xs):
        carry, ys = network(params, xs)
        ends = sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(carry))
        return jnp.sum(weight * ys) + ends

    return jax.jit(lambda params, xs: (network(params, xs), jax.grad(loss, (0, 1))(params, xs)))(params, xs)


def join(p, names, leaf):
    """Flax keeps a kernel and a bias a gate."""
    return np.concatenate([p[name][leaf] for name in names], -1)


def lstm_from_flax(p):
    """The biases stand beside the recurrent kernels."""
    inputs, recurrent = ["ii", "if", "ig", "io"], ["hi", "hf", "hg", "ho"]
    return LSTMParams(join(p, inputs, "kernel"), join(p, recurrent, "kernel"), join(p, recurrent, "bias"))


def gru_from_flax(p):
    """The bias of the candidate's recurrent product stands apart, as here."""
    inputs, recurrent = ["ir", "iz", "in"], ["hr", "hz", "hn"]
    return GRUParams(join(p, inputs, "kernel"), join(p, recurrent, "kernel"), join(p, inputs, "bias"), p["hn"]["bias"])


def rnn_from_flax(p):
    """One bias, beside the input's kernel."""
    return RNNParams(p["i"]["kernel"], p["h"]["kernel"], p["i"]["bias"])


@pytest.mark.parametrize(
    "name, ours, translate, carry_of",
    [
        ("LSTMCell", lstm(H), lstm_from_flax, lambda c: LSTMCarry(c[1], c[0])),
        ("OptimizedLSTMCell", lstm(H), lstm_from_flax, lambda c: LSTMCarry(c[1], c[0])),
        ("GRUCell", gru(H), gru_from_flax, GRUCarry),
        ("SimpleCell", rnn(H), rnn_from_flax, RNNCarry),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_flax(name, ours, translate, carry_of, padded):
    """Against `flax.linen.RNN`, which brings its own scan and its own treatment of lengths."""
    params, xs = random_params(linen(name, H), input_size=D), noise(1, T, B, D)
    lengths = np.array([T, 1, 4]) if padded else None
    cell = getattr(nn, name)(H)
    flax_rnn = nn.RNN(cell, time_major=True, return_carry=True)
    start = jax.tree.map(lambda leaf: leaf.astype(float), cell.initialize_carry(jax.random.key(0), (B, D)))

    def theirs(params, xs):
        carry, ys = flax_rnn.apply({"params": {"cell": params}}, xs, initial_carry=start, seq_lengths=lengths)
        valid = True if lengths is None else (np.arange(T)[:, None] < lengths)[..., None]
        return carry_of(carry), jnp.where(valid, ys, 0)

    def mine(params, xs):
        return unroll(ours, params, xs, lengths=lengths)

    values, (slopes, input_slopes) = value_and_slopes(theirs, params, xs)
    close(value_and_slopes(mine, translate(params), xs), (values, (translate(slopes), input_slopes)))


def from_torch(module, layer=0, backward=False):
    """A layer's weights in one direction, under short names."""
    end = f"_l{layer}" + ("_reverse" if backward else "")
    names = {"w_x": "weight_ih", "w_h": "weight_hh", "b_x": "bias_ih", "b_h": "bias_hh"}
    return {ours: getattr(module, theirs + end) for ours, theirs in names.items()}


def array(tensor):
    """A PyTorch tensor as an array."""
    return tensor.detach().numpy()


def our_params(kind, weights):
    """PyTorch's two biases add up, but for the GRU's candidate; its matrices stand on their sides."""
    w = {name: array(tensor) for name, tensor in weights.items()}
    if kind == "GRU":
        inside = np.where(np.arange(3 * H) < 2 * H, 0, w["b_h"])
        return GRUParams(w["w_x"].T, w["w_h"].T, w["b_x"] + w["b_h"] - inside, inside[2 * H :])
    return (LSTMParams if kind == "LSTM" else RNNParams)(w["w_x"].T, w["w_h"].T, w["b_x"] + w["b_h"])


def our_slopes(kind, weights):
    """The gradients in the same places: each of two added biases has the gradient of their sum."""
    g = {name: array(tensor.grad) for name, tensor in weights.items()}
    if kind == "GRU":
        return GRUParams(g["w_x"].T, g["w_h"].T, g["b_x"], g["b_h"][2 * H :])
    return (LSTMParams if kind == "LSTM" else RNNParams)(g["w_x"].T, g["w_h"].T, g["b_x"])


TORCH = {
    "LSTM": ("LSTM", {}, lstm(H)),
    "GRU": ("GRU", {}, gru(H)),
    "RNN tanh": ("RNN", {"nonlinearity": "tanh"}, rnn(H)),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}, rnn(H, activation="relu")),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("depth", [1, 2])
def test_torch(name, depth):
    """One layer, and two layers in two directions over padded sequences, against PyTorch."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (it is in the extra `peers`)")
    kind, options, cell = TORCH[name]
    stacked = depth == 2
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(D, H, num_layers=depth, bidirectional=stacked, **options).double()
    lengths = np.array([4, 7, 1]) if stacked else None
    xs = noise(1, T, B, D)
    ways = 2 if stacked else 1
    weigh = [noise(9, T, B, ways * H), noise(8, depth * ways, B, H)]

    their_xs = torch.tensor(xs, requires_grad=True)
    if stacked:
        pack = torch.nn.utils.rnn.pack_padded_sequence(their_xs, torch.tensor(lengths), enforce_sorted=False)
        packed, final = module(pack)
        ys, _ = torch.nn.utils.rnn.pad_packed_sequence(packed)
    else:
        ys, final = module(their_xs)
    final = final if kind == "LSTM" else (final,)
    loss = (torch.tensor(weigh[0]) * ys).sum() + sum((torch.tensor(weigh[1]) * leaf**2).sum() for leaf in final)
    loss.backward()

    layers = [[from_torch(module, layer, way == 1) for way in range(ways)] for layer in range(depth)]
    params = {f"layer_{n}": tuple(our_params(kind, way) for way in layer) for n, layer in enumerate(layers)}
    params["around"] = {"head": {"kernel": np.eye(ways * H), "bias": np.zeros(ways * H)}}  # shows the layer as it is
    model = sequence_model(cell, D, ways * H, layers=depth, bidirectional=stacked)

    def our_loss(params, xs):
        ys, carries = model.apply(params, xs, lengths)
        valid = 1 if lengths is None else (np.arange(T)[:, None] < lengths)[..., None]
        flat = [way for layer in carries for way in layer]
        ends = [jnp.stack([carry[leaf] for carry in flat]) for leaf in range(len(final))]
        return jnp.sum(weigh[0] * ys) + sum(jnp.sum(weigh[1] * end**2) for end in ends), (ys * valid, ends)

    slopes, (our_ys, ends) = jax.jit(jax.grad(our_loss, (0, 1), has_aux=True))(params, xs)
    close(our_ys, array(ys))
    close(ends, [array(leaf) for leaf in final])
    close(slopes[1], array(their_xs.grad))
    for n, layer in enumerate(layers):
        close(slopes[0][f"layer_{n}"], tuple(our_slopes(kind, way) for way in layer), 1e-11)

"""The cuDNN strategy on a CPU: what is laid out for cuDNN, through JAX's reference of it, and what is refused."""

import importlib
import inspect
import types

import jax
import jax.numpy as jnp
import pytest
from contract import close, noise, random_carry, random_params
from jax.experimental import rnn

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.training import Config
from seqjax.training.preparing import _usual_layout

T, B, D, H = 4, 3, 2, 3
LSTM = lstm(H)
MODULE = importlib.import_module("seqjax.unroll.cudnn")  # the name is the strategy's too


@pytest.fixture
def gpu(monkeypatch):
    """As if there were one, to come past the first refusal."""
    monkeypatch.setattr(MODULE, "not_nvidia", lambda: None)


@pytest.fixture
def reference(gpu, monkeypatch):
    """JAX's LSTM in the place of cuDNN's, called as that is and with the weights unpacked as JAX unpacks cuDNN's."""
    signature = inspect.signature(rnn.lstm)

    def lstm_of(*args, **kwargs):
        given = signature.bind(*args, **kwargs).arguments
        assert given.pop("precision") == jax.lax.Precision.HIGH
        sizes = [given[name] for name in ("input_size", "hidden_size", "num_layers", "bidirectional")]
        weights = rnn.unpack_lstm_weights(given.pop("weights"), *sizes)
        x, h_0, c_0, *rest = given.values()
        return rnn.lstm_ref(x, h_0, c_0, *weights, *rest)

    monkeypatch.setattr(rnn, "lstm", lstm_of)


def point():
    params, xs = random_params(LSTM, jnp.float32, D), noise(1, T, B, D, dtype=jnp.float32)
    return params, xs, random_carry(LSTM, params, B)


@pytest.mark.parametrize("reverse, lengths", [(False, None), (True, (T, 1, 3))], ids=["whole", "padded, in reverse"])
def test_the_layout_is_cudnns(reverse, lengths, reference):
    """Values and every gradient through JAX's reference are the plain scan's, whatever the padding holds."""
    params, xs, carry = point()
    if lengths is not None:
        xs = jnp.where((jnp.arange(T)[:, None] < jnp.array(lengths))[..., None], xs, jnp.nan)
        lengths = jnp.array(lengths)

    def both(strategy):
        def loss(params, xs, carry):
            end, ys = unroll(LSTM, params, xs, carry, lengths=lengths, reverse=reverse, strategy=strategy)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(end.h)) + jnp.sum(end.c**2), (end, ys)

        return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, xs, carry)

    close(both("cudnn"), both("scan"), 1e-5)


def test_jax_takes_what_it_is_given(gpu, monkeypatch):
    """The shapes of results and gradient through JAX's own binding; only the size of cuDNN's workspace is made up."""
    sized = types.SimpleNamespace(compute_rnn_workspace_reserve_space_sizes=lambda *_: (0, 8))
    monkeypatch.setattr(rnn, "gpu_rnn", sized)
    params, xs, carry = random_params(LSTM, jnp.float32, D), noise(1, T, 2, B, D, dtype=jnp.float32), None
    run = lambda p, x: unroll(LSTM, p, x, carry, strategy="cudnn")  # noqa: E731
    end, ys = jax.eval_shape(run, params, xs)
    assert ys.shape == (T, 2, B, H) and end.h.shape == end.c.shape == (2, B, H)
    slopes = jax.eval_shape(jax.grad(lambda *at: jnp.sum(run(*at)[1]), (0, 1)), params, xs)
    assert jax.tree.map(jnp.shape, slopes) == jax.tree.map(jnp.shape, (params, xs))


REFUSED = {
    "takes this package's lstm alone, not 'gru_step'": (gru(H), {}),
    "takes the standard LSTM alone, not peepholes=True": (lstm(H, peepholes=True), {}),
    "not coupled=True, output_activation='identity'": (lstm(H, coupled=True, output_activation="identity"), {}),
    "has no gradient of every carry, so takes no nudge": (LSTM, {"nudge": True}),
    "takes float32 alone, not bfloat16": (LSTM, {"dtype": jnp.bfloat16}),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refusals(says, gpu):
    cell, given = REFUSED[says]
    dtype = given.get("dtype", jnp.float32)
    params, xs = random_params(cell, dtype, D), noise(1, T, B, D).astype(dtype)
    nudge = zero_nudge(cell, params, xs) if "nudge" in given else None
    with pytest.raises(UserError, match=f"strategy='cudnn': .*{says}; strategy='auto' runs"):
        unroll(cell, params, xs, nudge=nudge, strategy="cudnn")


def test_a_cpu_is_refused():
    params, xs, _ = point()
    with pytest.raises(UserError, match="needs an NVIDIA GPU, and this is a cpu; strategy='auto'"):
        unroll(LSTM, params, xs, strategy="cudnn")


def test_vmap_is_refused(gpu):
    params, xs, _ = point()
    with pytest.raises(UserError, match="cannot vmap cuDNN; take --mesh=map"):
        jax.vmap(lambda x: unroll(LSTM, params, x, strategy="cudnn")[1])(jnp.stack([xs, xs]))


@pytest.mark.parametrize(("strategy", "layout"), [("auto", "vmap"), ("cudnn", "map")])
def test_runs_that_share_a_gpu_go_one_after_the_other(strategy, layout, monkeypatch):
    """As JAX cannot vmap cuDNN."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert _usual_layout(Config("lstm", "adding", strategy=strategy), None) == layout

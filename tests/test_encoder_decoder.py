"""What reads one sequence and writes another: attention, and encoder and decoder together."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close

from seqjax.cells.gru import gru
from seqjax.cells.lstm import lstm
from seqjax.cells.skip import skip
from seqjax.gradients.adjoints import record
from seqjax.models import encoder_decoder
from seqjax.models.attention import attend, attention
from seqjax.types import Pair, UserError

S, U, B, V, MOST = 5, 4, 3, 4, 4
LSTM = lstm(3)
LENGTHS = np.array([5, 1, 3])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# Attention


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_is_that_of_a_loop(kind, float64):
    """Scores, weights and context, place by place; places that do not exist weigh nothing, whatever they hold."""
    module, query, encoded = attention(kind, 6), normal(1, B, 6), normal(2, B, S, 3)
    params = jax.jit(module.init)(jax.random.key(0), query, encoded)
    exists = np.arange(S) < np.asarray(LENGTHS)[:, None]
    dirty = np.where(exists[..., None], encoded, 1e30)

    @jax.jit
    def weigh(encoded):
        projected = module.apply(params, encoded, method="project")
        return attend(module.apply(params, query, projected, method="scores"), encoded, exists)

    context, weights = jax.device_get(weigh(encoded))
    kernels = {name: np.asarray(each["kernel"]) for name, each in params["params"].items()}
    for b in range(B):
        scores = []
        for s in range(int(LENGTHS[b])):
            q, k = query[b], encoded[b, s]
            if kind == "additive":
                scores.append((np.tanh(q @ kernels["w"] + k @ kernels["u"]) @ kernels["v"]).item())
            else:
                scores.append(q @ (k @ kernels["w"]))
        share = np.exp(scores) / np.sum(np.exp(scores))
        np.testing.assert_allclose(weights[b, : len(share)], share, rtol=1e-6)
        assert not weights[b, len(share) :].any()
        np.testing.assert_allclose(context[b], share @ encoded[b, : len(share)], rtol=1e-6)
    close(weigh(dirty)[1], weights, 1e-12)


# The two together


@functools.cache
def built(cell=None, **options):
    """A translator from 7 symbols to V, its functions, and parameters without zeros."""
    made = encoder_decoder(cell or LSTM, 7, V, embedding=2, longest=MOST, strategy="scan", **options)
    leaves, form = jax.tree.flatten(jax.eval_shape(made.model.init, jax.random.key(0)))
    return made, jax.tree.unflatten(form, [np.float32(0.7 * normal(n, *leaf.shape)) for n, leaf in enumerate(leaves)])


SOURCE = np.random.default_rng(0).integers(0, 7, (S, B))
SAID = np.random.default_rng(1).integers(0, V, (U, B))
FORMS = [
    {"attention_kind": "additive"},
    {"attention_kind": "multiplicative", "bidirectional": False, "cell": gru(3), "layers": 2},
    {"attention_kind": "none", "bidirectional": False},
]


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_what_is_written_step_by_step_is_what_is_read_at_once(form):
    """Teacher forcing in one scan, and the decoder's own steps; padding, whatever it holds, is invisible to both."""
    made, params = built(**FORMS[form])

    @jax.jit
    def both(params, source):
        def loss(params):
            outputs = made.model.apply(params, Pair(source, SAID), LENGTHS)[0]
            return jnp.sum(jnp.sin(outputs)), outputs

        (_, at_once), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        memory, state = made.start(params, source, LENGTHS)
        _, steps = jax.lax.scan(lambda state, token: made.step(params, memory, state, token), state, SAID)
        return at_once, made.model.weights(params, Pair(source, SAID), LENGTHS), steps, gradient

    at_once, weights, (logits, step_weights), gradient = both(params, SOURCE)
    assert at_once.shape == (U, B, V) and weights.shape == (U, B, S)
    close(logits, at_once, 3e-6)
    close(step_weights, weights, 3e-6)
    exists = np.arange(S) < np.asarray(LENGTHS)[:, None]
    if FORMS[form]["attention_kind"] == "none":
        assert not np.asarray(weights).any()
    else:
        np.testing.assert_allclose(np.asarray(weights).sum(-1), 1, rtol=1e-5)
        assert not np.asarray(weights)[:, ~exists].any()
    padded = np.where(exists.T, SOURCE, 3)
    other = both(params, padded)
    close(other[:2], (at_once, weights), 1e-6)
    close(other[-1], gradient, 2e-5)


def test_a_probe_finds_the_encoder():
    """By way of the model's layers, as in any other model, the answers are the same."""
    made, params = built(**FORMS[2])

    @jax.jit
    def both(params):
        inputs = Pair(SOURCE, SAID)
        ys = record(made.model.layers(params), made.model.encode(params, inputs), LENGTHS)[1]
        return made.model.read(params, ys, LENGTHS, inputs), made.model.apply(params, inputs, LENGTHS)[0]

    close(*both(params), 3e-6)


def test_the_model_writes_what_its_steps_say():
    """`decode` is the greedy loop over `step`, without <begin> and <unk>."""
    made, params = built()
    both = jax.jit(lambda *at: (made.model.decode(params, Pair(*at), LENGTHS), made.start(params, at[0], LENGTHS)))
    decode, (memory, state) = both(SOURCE, SAID)
    decode, step = np.asarray(decode), jax.jit(made.step)
    token, ended = np.ones(B, np.int32), np.zeros(B, bool)
    for u in range(MOST):
        state, (logits, _) = step(params, memory, state, token)
        token = np.int32(np.asarray(logits)[:, [0, 3]].argmax(-1) * 3)
        np.testing.assert_array_equal(decode[u], np.where(ended, 0, token))
        ended |= decode[u] == 0


def test_teacher_forcing_by_share():
    """All forced is teacher forcing; none forced reads what was said before; dropout needs its key."""
    made, params = built()
    key = jax.random.key(0)
    plain = jax.jit(lambda said: made.model.apply(params, Pair(SOURCE, said), LENGTHS)[0])
    apply = jax.jit(lambda share: made.model.apply(params, Pair(SOURCE, SAID), LENGTHS, dropout_key=key,
                                                   teacher_forcing=share)[0])  # fmt: skip
    close(apply(1.0), plain(SAID), 3e-6)
    own = np.asarray(apply(0.0))
    said = np.concatenate([SAID[:1], own.argmax(-1)[:-1]])
    close(own, plain(said), 3e-6)
    with pytest.raises(UserError, match="teacher_forcing needs a dropout_key"):
        made.model.apply(params, Pair(SOURCE, SAID), LENGTHS, teacher_forcing=0.5)


def test_wrong_settings_are_told():
    for options, says in [
        ({"attention_kind": "luong"}, "attention='luong'; expected 'additive', 'multiplicative' or 'none'"),
        ({"layers": 0}, "layers=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"beam_width": 0}, "beam=0"),
    ]:
        with pytest.raises(UserError, match=says):
            encoder_decoder(lstm(3), 7, V, embedding=2, **options)
    with pytest.raises(UserError, match="a cell whose output is wider where it reads more, as skip"):
        encoder_decoder(skip("lstm(hidden=3)"), 7, V, embedding=2)

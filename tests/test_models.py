"""What stands around a cell: depth, two directions, dropout, tokens, readouts, carries, nudges, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal, noise, random_carry, random_params, shaped

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.gru import gru
from seqjax.cells.linen import linen
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import RNNParams, rnn
from seqjax.models import sequence_model

T, B, D, H, OUT = 6, 3, 2, 4, 5
LENGTHS = np.array([6, 1, 4])
LSTM = lstm(H)
TIGHT = 2e-6
compiled = jax.jit(unroll, static_argnames=("cell", "reverse"))


def run(*args, **options):
    """`unroll` compiled, its answer in NumPy."""
    return jax.tree.map(np.asarray, compiled(*args, **options))


def built(cell=LSTM, input_size=D, **options):
    """A model, its `apply` compiled, and parameters without zeros."""
    model = sequence_model(cell, input_size, OUT, **options)
    params, apply = shaped(model.init, 0.4), jax.jit(model.apply)
    return model, lambda *args, **given: jax.tree.map(np.asarray, apply(*args, **given)), params


def head(params, ys):
    """The linear readout, by hand."""
    dense = params["around"]["head"]
    return ys @ dense["kernel"] + dense["bias"]


def both_ways(params, xs, lengths):
    """A layer of two directions, by hand."""
    forward, backward = params
    one = run(LSTM, forward, xs, lengths=lengths)[1]
    return np.concatenate([one, run(LSTM, backward, xs, lengths=lengths, reverse=True)[1]], -1)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
def test_a_stack_is_one_layer_upon_the_other(lengths):
    _, apply, params = built(layers=3)
    xs = ys = noise(1, T, B, D)
    for depth in range(3):
        ys = run(LSTM, params[f"layer_{depth}"][0], ys, lengths=lengths)[1]
    outputs, carry = apply(params, xs, lengths)
    assert outputs.shape == (T, B, OUT) and len(carry) == 3
    close(outputs, head(params, ys), TIGHT)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
def test_two_directions_are_two_unrolls_side_by_side(lengths):
    _, apply, params = built(layers=2, bidirectional=True)
    xs = noise(1, T, B, D)
    assert params["layer_1"][0].w_x.shape == (2 * H, 4 * H)
    ys = both_ways(params["layer_1"], both_ways(params["layer_0"], xs, lengths), lengths)
    close(apply(params, xs, lengths)[0], head(params, ys), TIGHT)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
def test_the_last_readout_is_at_the_last_valid_step_and_read_backwards_at_the_first(bidirectional, lengths):
    _, apply, params = built(bidirectional=bidirectional, readout="last")
    xs = noise(1, T, B, D)
    outputs, _ = apply(params, xs, lengths)
    assert outputs.shape == (B, OUT)
    for b, length in enumerate([T] * B if lengths is None else lengths.tolist()):
        alone = xs[:length, b : b + 1]
        if bidirectional:
            ys = both_ways(params["layer_0"], alone, None)
            read = np.concatenate([ys[-1, 0, :H], ys[0, 0, H:]])  # each way's own last step
        else:
            read = run(LSTM, params["layer_0"][0], alone)[1][-1, 0]
        close(outputs[b], head(params, read), TIGHT)


@pytest.mark.parametrize("readout", ["every", "last"])
def test_padding_is_invisible(readout):
    """In the answers that count and in every gradient, whatever the padding holds."""
    model, apply, params = built(layers=2, bidirectional=True, readout=readout)
    valid = (np.arange(T)[:, None] < LENGTHS)[..., None]
    clean = np.where(valid, noise(1, T, B, D), 0)

    @jax.jit
    def answers(params, xs):
        def loss(params, xs):
            outputs, carry = model.apply(params, xs, LENGTHS)
            outputs = jnp.where(valid, outputs, 0) if readout == "every" else outputs
            return jnp.sum(jnp.sin(outputs)), (outputs, carry)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, xs)

    expected = jax.tree.map(np.asarray, answers(params, clean))
    for garbage in (np.nan, np.inf, 1e30):
        equal(answers(params, np.where(valid, clean, np.float32(garbage))), expected)
    assert not np.where(valid, 0, expected[1][1]).any()
    longer = np.concatenate([clean, np.full((2, B, D), np.nan, np.float32)])
    outputs = apply(params, longer, LENGTHS)[0]
    close(np.where(valid, outputs[:T], 0) if readout == "every" else outputs, expected[0][1][0], TIGHT)


def test_tokens_are_one_hot_vectors_or_a_learned_embedding():
    tokens = np.array([[0, 1, 6], [3, 3, 2]])
    model, apply, params = built(input_size=7, tokens=True)
    assert params["layer_0"][0].w_x.shape == (7, 4 * H)
    equal(model.encode(params, tokens), np.eye(7)[tokens])
    ys = run(LSTM, params["layer_0"][0], np.eye(7)[tokens])[1]
    close(apply(params, tokens)[0], head(params, ys), TIGHT)

    model, apply, params = built(input_size=7, tokens=True, embedding=3)
    table = params["around"]["embed"]["embedding"]
    assert table.shape == (7, 3) and params["layer_0"][0].w_x.shape == (3, 4 * H)
    equal(model.encode(params, tokens), table[tokens])
    ys = run(LSTM, params["layer_0"][0], table[tokens])[1]
    close(apply(params, tokens)[0], head(params, ys), TIGHT)


def test_vectors_pass_as_they_are():
    model, _, params = built()
    xs = noise(1, T, B, D)
    assert model.encode(params, xs) is xs


def test_dropout_is_between_layers_and_only_with_a_key():
    _, apply, params = built(layers=2, dropout=0.5)
    _, without, _ = built(layers=2)
    xs = noise(1, T, B, D)
    plain = without(params, xs)
    equal(apply(params, xs), plain)
    one, again, other = (apply(params, xs, dropout_key=jax.random.key(seed)) for seed in (0, 0, 1))
    equal(one, again)
    assert (one[0] != other[0]).any() and (one[0] != plain[0]).any()
    equal(one[1][0], plain[1][0])  # the first layer knows nothing of it


def test_dropout_drops_its_share_and_scales_the_rest():
    """Two layers that hand on what they read, the second without memory: what is seen is what was kept."""
    model = sequence_model(rnn(1, activation="identity"), 1, 1, layers=2, dropout=0.25)
    copy = RNNParams(np.ones((1, 1)), np.zeros((1, 1)), np.zeros(1))
    shown = {"head": {"kernel": np.ones((1, 1)), "bias": np.zeros(1)}}
    params = {"layer_0": (copy,), "layer_1": (copy,), "around": shown}
    apply = jax.jit(lambda params, xs, key: model.apply(params, xs, dropout_key=key)[0])
    outputs = apply(params, np.ones((200, 50, 1)), jax.random.key(0))
    kept = np.asarray(outputs) > 0
    np.testing.assert_allclose(np.asarray(outputs)[kept], 1 / 0.75, rtol=1e-6)
    assert abs(kept.mean() - 0.75) < 5 * (0.75 * 0.25 / kept.size) ** 0.5
    assert kept.any(0).all() and not kept.all(0).any()  # new at every step


@pytest.mark.parametrize("cell", [LSTM, linen("OptimizedLSTMCell", H)], ids=["lstm", "linen"])
def test_carries_continue_a_stack(cell):
    _, apply, params = built(cell, layers=2)
    xs = noise(1, T, B, D)
    whole, end = apply(params, xs)
    first, carry = apply(params, xs[:2])
    second, again = apply(params, xs[2:], carry=carry)
    close((np.concatenate([first, second]), again), (whole, end), TIGHT)


def test_layers_tell_how_a_model_is_made():
    model, _, params = built(layers=2, bidirectional=True)
    layers = model.layers(params)
    assert [[way.reverse for way in layer] for layer in layers] == [[False, True]] * 2
    assert all(way.cell == LSTM for layer in layers for way in layer)
    for depth, layer in enumerate(layers):
        equal(tuple(way.params for way in layer), params[f"layer_{depth}"])
    ys, lengths = noise(2, T, B, 2 * H), None
    close(model.read(params, ys, lengths), head(params, ys), TIGHT)


def test_every_layer_and_direction_begins_with_its_own_weights():
    model = sequence_model(rnn(H, recurrent_init="normal"), D, OUT, layers=2, bidirectional=True)
    params = model.init(jax.random.key(0))
    recurrent = [np.asarray(way.w_h) for n in range(2) for way in params[f"layer_{n}"]]
    assert all((one != other).any() for n, one in enumerate(recurrent) for other in recurrent[:n])
    assert params["around"]["head"]["kernel"].shape == (2 * H, OUT)


def test_nudges_reach_the_layer_and_the_direction_they_are_for(float64):
    """A push of one place is the push of that unroll alone, and its gradient the finite difference."""
    model, _, params = built(layers=2, bidirectional=True)
    xs, lengths = noise(1, T, B, D), LENGTHS
    wide = np.zeros((T, B, 2 * H))
    zeros = tuple(
        tuple(zero_nudge(way.cell, way.params, xs if depth == 0 else wide) for way in layer)
        for depth, layer in enumerate(model.layers(params))
    )

    def loss(nudge):
        return jnp.sum(jnp.sin(model.apply(params, xs, lengths, nudge=nudge)[0]))

    value, slopes = jax.jit(loss), jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(zeros))
    for depth in range(2):
        for way in range(2):
            leaf = slopes[depth][way].c
            assert leaf.shape == (T, B, H) and not leaf[1:, 1].any() and leaf[0, 1].any()

            def pushed(by, place=(depth, way)):
                """The loss where one number of one nudge is not zero."""
                nudge = [list(layer) for layer in zeros]
                c = np.zeros((T, B, H))
                c[2, 0, 1] = by
                nudge[place[0]][place[1]] = nudge[place[0]][place[1]]._replace(c=c)
                return value(tuple(map(tuple, nudge)))

            np.testing.assert_allclose((pushed(1e-5) - pushed(-1e-5)) / 2e-5, leaf[2, 0, 1], rtol=1e-7)


def test_models_of_many_seeds_by_vmap():
    model, apply, params = built(gru(H), layers=2, readout="last")
    seeds = [jax.tree.map(lambda leaf, scale=scale: scale * leaf, params) for scale in (0.5, 1.0, 1.5)]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    many = jax.jit(jax.vmap(model.apply, (0, None, None)))(together, noise(1, T, B, D), LENGTHS)
    many = jax.tree.map(np.asarray, many)
    for number, alone in enumerate(seeds):
        close(apply(alone, noise(1, T, B, D), LENGTHS), jax.tree.map(lambda leaf, n=number: leaf[n], many), TIGHT)


def test_start_from_a_given_carry():
    _, apply, params = built()
    start = random_carry(LSTM, random_params(LSTM, jnp.float32, D), B)
    xs = noise(1, T, B, D)
    carry, ys = run(LSTM, params["layer_0"][0], xs, start)
    close(apply(params, xs, carry=((start,),)), (head(params, ys), ((carry,),)), TIGHT)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"layers": 0}, "layers=0; expected at least 1"),
        ({"layers": 2, "dropout": 1.0}, "dropout=1.0; expected"),
        ({"layers": 2, "dropout": -0.1}, "dropout=-0.1; expected"),
        ({"dropout": 0.1}, "dropout=0.1 acts between layers"),
        ({"embedding": 4}, "embedding=4, but the task's inputs are vectors"),
        ({"tokens": True, "embedding": 0}, "embedding=0; expected at least 1"),
        ({"around_scale": 0.0}, "around_scale=0.0; expected a positive number"),
        ({"around_scale": float("inf")}, "around_scale=inf; expected a positive number up to"),
    ],
)
def test_refusals(options, says):
    with pytest.raises(UserError, match=says):
        sequence_model(LSTM, D, OUT, **options)

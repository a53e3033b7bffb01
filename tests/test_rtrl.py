"""Real-time recurrent learning: the gradient of backpropagation, to rounding, found forwards in time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, small_case

from seqjax import Cell, UserError, cells, spec, unroll
from seqjax.gradients.rtrl import rtrl, rtrl_start, rtrl_step
from seqjax.gradients.truncation import truncation_bias


def begin(form, steps=6, batch=2):
    """A cell, parameters without a zero in them, inputs [T, B, 2] and targets [T, B, H]."""
    return *small_case(form, steps, batch), noise(98, steps, batch, 3)


def loss(y, target):
    return jnp.sum((y - target) ** 4)


def total(cell, xs, targets, lengths=None, window=None):
    """The same loss through `unroll`, or through windows."""

    def run(params):
        strategy = "scan" if window is None else f"truncated(window={window}, stride=1)"
        ys = unroll(cell, params, xs, lengths=lengths, strategy=strategy)[1]
        each = jax.vmap(jax.vmap(loss))(ys, targets)
        steps = np.arange(len(each))[:, None]
        return jnp.sum(each if lengths is None else jnp.where(steps < lengths, each, 0))

    return run


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-13), one, other)


@pytest.mark.parametrize(
    "form, steps, lengths",
    [
        ("lstm(hidden=3, peepholes=True)", 6, None),
        ("lstm(hidden=3)", 6, [6, 3]),
        ("gru(hidden=3)", 2, [1, 2]),
        ("rnn(hidden=3)", 1, None),
        ("linen(cell='MGUCell', hidden=3)", 6, [2, 5]),
        ("scaled(cell='lstm(hidden=3)', forget_gate=0, c=0.5)", 6, None),
    ],
)
def test_it_is_backpropagation(form, steps, lengths, float64):
    cell, params, xs, targets = begin(form, steps)
    lengths = None if lengths is None else np.array(lengths)
    wanted = jax.jit(jax.value_and_grad(total(cell, xs, targets, lengths)))(params)
    close(jax.jit(lambda p: rtrl(cell, p, xs, targets, loss, lengths))(params), wanted)


def test_a_learned_initial_carry_and_a_loss_that_comes_last(float64):
    """The parameters reach s_0, and a loss at the last step alone reaches back to it."""

    def step(params, s, x):
        s = jnp.tanh(s @ params["w"] + x)
        return s, s

    start = lambda params, shape: jnp.broadcast_to(params["s"], (*shape, 2))  # noqa: E731
    cell = Cell(lambda key, size: None, start, step)
    params, xs = {"w": noise(1, 2, 2), "s": noise(2, 2)}, noise(3, 4, 3, 2)
    last = np.repeat([0.0, 1.0], [3, 1])[:, None] * np.ones(3)
    found = jax.jit(lambda p: rtrl(cell, p, xs, last, lambda y, w: w * jnp.sum(y**3)))(params)
    wanted = jax.jit(jax.value_and_grad(lambda p: jnp.sum(unroll(cell, p, xs)[1][-1] ** 3)))(params)
    close(found, wanted)
    assert np.all(found[1]["s"] != 0)


def test_every_step_has_its_gradient_at_once(float64):
    """The parts that the steps give online are the gradients of the steps' own losses."""
    cell, params, xs, targets = begin("gru(hidden=3)", 3)
    one = jax.jit(lambda p, before, x, target: rtrl_step(cell, p, before, x, target, loss))
    influence = jax.tree.map(np.asarray, rtrl_start(cell, params, 2))
    assert influence.matrix.shape == (2, 3, sum(leaf.size for leaf in params)) and not np.any(influence.matrix)
    losses = lambda p: jnp.sum(jax.vmap(jax.vmap(loss))(unroll(cell, p, xs)[1], targets), 1)  # noqa: E731
    slopes_of = jax.jit(lambda p: (losses(p), jax.jacrev(losses)(p)))
    values, slopes = jax.tree.map(np.asarray, slopes_of(params))
    for t in range(3):
        influence, value, gradient = one(params, influence, xs[t], targets[t])
        close((value, gradient), jax.tree.map(lambda leaf, t=t: leaf[t], (values, slopes)))


def test_padding_takes_part_in_nothing(float64):
    cell, params, xs, targets = begin("lstm(hidden=3)", 4)
    run = jax.jit(lambda xs, lengths: rtrl(cell, params, xs, targets, loss, lengths))
    lengths, spoilt = np.array([2, 1]), np.concatenate([xs[:2], np.nan * xs[2:]])
    close(run(spoilt, lengths), run(xs, lengths))


def test_the_bias_of_truncation_is_measured_from_the_exact_gradient(float64):
    """RTRL's gradient and the truncated one, set against each other by hand, give the numbers reported."""
    cell, params, xs, targets = begin("lstm(hidden=3)", 6)
    whole = lambda ys: jnp.sum(jax.vmap(jax.vmap(loss))(ys, targets))  # noqa: E731

    @jax.jit
    def run(params):
        slopes = rtrl(cell, params, xs, targets, loss)[1], jax.grad(total(cell, xs, targets, window=2))(params)
        flat = [jax.flatten_util.ravel_pytree(slope)[0] for slope in slopes]
        return flat, truncation_bias(cell, params, xs, whole, (2, 6), stride=1)

    (exact, g), bias = jax.tree.map(np.asarray, run(params))
    np.testing.assert_allclose(bias.relative_error[0], np.linalg.norm(g - exact) / np.linalg.norm(exact), rtol=1e-9)
    np.testing.assert_allclose(bias.cosine[0], g @ exact / np.linalg.norm(g) / np.linalg.norm(exact), rtol=1e-9)
    assert bias.relative_error[0] > 0.001 and bias.relative_error[1] == 0


def test_the_limit_counts_sequences_carry_and_parameters():
    cell = spec.build("lstm(hidden=64)", [cells], Cell)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 2))
    with pytest.raises(
        UserError, match=r"32 sequences x 128 numbers in the carry x 17152 parameters.*at most 50000000"
    ):
        rtrl_start(cell, params, 32)


def test_integer_carries_are_refused():
    counting = Cell(lambda key, size: (), lambda p, s: jnp.zeros((*s, 1), jnp.int32), lambda p, s, x: (s + 1, x))
    with pytest.raises(UserError, match="int32"):
        rtrl(counting, np.ones(1), np.zeros((2, 1, 1)), np.zeros((2, 1)), loss)

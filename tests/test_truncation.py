"""Truncated BPTT: against products of Jacobians one by one, chunks by hand, closed forms and the full gradient."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import noise, small_case, weigh

from seqjax import Cell, UserError, spec, unroll
from seqjax.cells.gru import GRUCarry
from seqjax.gradients.states import flat_size, flat_step
from seqjax.gradients.truncation import truncation_bias


def truncated(cell, params, xs, carry=None, *, window, stride=None, lengths=None):
    """unroll with its gradient truncated."""
    strategy = str(spec.Spec("truncated", {"window": window, "stride": stride}))
    return unroll(cell, params, xs, carry, lengths=lengths, strategy=strategy)


def gradient(cell, params, xs, **options):
    return jax.jit(jax.grad(lambda p: weigh(truncated(cell, p, xs, **options)[1])))(params)


def close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-10, 1e-13), one, other)


def ravel(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@functools.cache
def jacobians():
    """An LSTM, and ((∂s_t/∂θ, ∂s_t/∂s_{t-1}), (∂y_t/∂θ, ∂y_t/∂s_{t-1})) at its steps, each [T, B, ...]."""
    cell, params, xs = small_case("lstm(hidden=2)", 7)

    @jax.jit
    def tape(params, xs):
        theta, restore = jax.flatten_util.ravel_pytree(params)
        step = lambda theta, s, x: flat_step(cell, restore(theta))(s, x)  # noqa: E731
        each = jax.vmap(lambda s, x: (step(theta, s, x)[0], jax.jacobian(step, (0, 1))(theta, s, x)))
        return jax.lax.scan(each, jnp.zeros((2, flat_size(cell, params))), xs)[1]

    return cell, params, xs, jax.tree.map(np.asarray, tape(params, xs))


def by_jacobians(tape, window, stride, lengths):
    """Σ_t Σ_s ∂L/∂y_t ∂y_t/∂s_{t-1} J_{t-1} ... J_{s+1} ∂s_s/∂θ over the s that the block of t reaches."""
    (s_theta, s_state), (y_theta, y_state) = tape
    ys_bar, total = noise(98, 7, 2, 2), np.zeros(y_theta.shape[-1])
    for b in range(2):
        for t in range(7 if lengths is None else lengths[b]):
            total += ys_bar[t, b] @ y_theta[t, b]
            row = ys_bar[t, b] @ y_state[t, b]
            for s in reversed(range(max(0, (t // stride + 1) * stride - window), t)):
                total += row @ s_theta[s, b]
                row = row @ s_state[s, b]
    return total


@pytest.mark.parametrize(
    "window, stride, lengths",
    [(3, 1, None), (3, 2, [7, 2]), (3, 3, None), (1, 1, [7, 2]), (5, 3, None), (6, 4, [7, 2])],
)
def test_against_products_of_jacobians(window, stride, lengths, float64):
    """The Jacobians of an LSTM do not commute, so the order of the product counts."""
    cell, params, xs, tape = jacobians()
    lengths = None if lengths is None else np.array(lengths)
    found = gradient(cell, params, xs, window=window, stride=stride, lengths=lengths)
    close(ravel(found), by_jacobians(tape, window, stride, lengths))


@pytest.mark.parametrize("steps", [6, 7])
def test_a_stride_of_the_window_is_chunks_with_the_carry_handed_on(steps, float64):
    cell, params, xs = small_case("gru(hidden=2)", steps)

    def chunks(params):
        carry, outputs = cell.initial_carry(params, (2,)), []
        for start in range(0, steps, 3):
            carry, ys = unroll(cell, params, xs[start : start + 3], jax.lax.stop_gradient(carry))
            outputs.append(ys)
        return weigh(jnp.concatenate(outputs))

    close(gradient(cell, params, xs, window=3), jax.jit(jax.grad(chunks))(params))


@pytest.mark.parametrize("window, stride", [(1, 1), (5, 2), (8, 3), (20, 3)])
def test_what_is_dropped_has_a_closed_form(window, stride, float64):
    """h_t = w h_{t-1} + x_t with x = 1, L = Σ_t h_t: step s adds w^{t-s} h_{s-1} to dh_t/dw, or is too far back."""
    step = lambda w, h, x: (w * h + x, w * h + x)  # noqa: E731
    cell = Cell(lambda key, size: jnp.array(0.8), lambda w, shape: jnp.zeros((*shape, 1)), step)
    steps, w = 20, 0.8
    h = (1 - w ** np.arange(steps + 1)) / (1 - w)  # h[t] enters step t
    wanted = sum(
        w ** (t - s) * h[s] for t in range(steps) for s in range(max(0, (t // stride + 1) * stride - window), t + 1)
    )
    xs = np.ones((steps, 1, 1))
    slope = jax.jit(jax.grad(lambda w: jnp.sum(truncated(cell, w, xs, window=window, stride=stride)[1])))
    np.testing.assert_allclose(slope(w), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    "steps, window, stride, lengths",
    [(1, 1, 1, None), (2, 1, 1, [1, 2]), (9, 4, 3, None), (9, 4, 3, [1, 2]), (9, 50, 50, [1, 2])],
)
def test_values_and_carries_are_those_of_unroll_bit_for_bit(steps, window, stride, lengths):
    cell, params, xs = small_case("lstm(hidden=3)", steps)
    lengths = None if lengths is None else np.array(lengths)
    found = jax.jit(lambda p: truncated(cell, p, xs, window=window, stride=stride, lengths=lengths))(params)
    run = jax.jit(lambda p: unroll(cell, p, xs, lengths=lengths, strategy="scan"))
    jax.tree.map(np.testing.assert_array_equal, found, run(params))


def test_a_window_of_all_steps_is_the_full_gradient(float64):
    cell, params, xs = small_case("lstm(hidden=3)", 6)
    full = jax.jit(jax.grad(lambda p: weigh(unroll(cell, p, xs)[1])))(params)
    for window, stride in [(6, 4), (100, 7)]:
        close(gradient(cell, params, xs, window=window, stride=stride), full)
    shorter = gradient(cell, params, xs, window=5, stride=1)
    assert np.abs(shorter.w_x - full.w_x).max() > 1e-4


@pytest.mark.parametrize("lengths, reached", [(None, [7, 7]), ([7, 3], [7, 3]), ([7, 4], [7, 4])])
def test_the_gradient_of_the_carry_that_is_returned_and_of_the_one_given(lengths, reached, float64):
    """The last carry reaches back to where its block's window begins, and to the carry given where that is 0."""
    cell, params, xs = small_case("gru(hidden=2)", 7)
    lengths = None if lengths is None else np.array(lengths)
    start = GRUCarry(np.full((2, 2), 0.4))
    run = lambda p, s: weigh(truncated(cell, p, xs, s, window=4, stride=2, lengths=lengths)[0].h)  # noqa: E731

    def by_hand(params, carry):
        total = 0
        for b, steps in enumerate(reached):
            h = GRUCarry(carry.h[b])
            cut = max(0, ((steps - 1) // 2 + 1) * 2 - 4)
            if cut:
                h = jax.lax.stop_gradient(unroll(cell, params, xs[:cut, b], h)[0])
            total += jnp.sum(noise(98, 2, 2)[b] * unroll(cell, params, xs[cut:steps, b], h)[0].h)
        return total

    found, wanted = (jax.jit(jax.grad(each, (0, 1)))(params, start) for each in (run, by_hand))
    close(found, wanted)
    assert np.any(found[1].h[1] != 0) == (reached[1] <= 4) and not np.any(found[1].h[0])


def test_state_carried_over_calls_is_one_call(float64):
    cell, params, xs = small_case("lstm(hidden=2)", 8)

    def in_two(params):
        carry, first = truncated(cell, params, xs[:4], window=2)
        _, second = truncated(cell, params, xs[4:], jax.lax.stop_gradient(carry), window=2)
        return weigh(jnp.concatenate([first, second]))

    close(jax.jit(jax.grad(in_two))(params), gradient(cell, params, xs, window=2))


def test_one_sequence_without_a_batch_axis(float64):
    cell, params, xs = small_case("gru(hidden=2)", 7, batch=1)
    lengths = np.array([5])
    both = gradient(cell, params, xs, window=3, stride=2, lengths=lengths)
    run = lambda p: weigh(truncated(cell, p, xs[:, 0], window=3, stride=2, lengths=lengths[0])[1][:, None])  # noqa: E731
    close(jax.jit(jax.grad(run))(params), both)


def test_padding_takes_part_in_nothing(float64):
    cell, params, xs = small_case("gru(hidden=2)", 7)
    find = jax.jit(lambda xs: gradient(cell, params, xs, window=3, stride=2, lengths=np.array([4, 3])))
    tame = np.concatenate([xs[:4], 0 * xs[4:]])
    close(find(np.concatenate([xs[:4], np.nan * xs[4:]])), find(tame))


def test_the_bias_of_truncation_is_a_number(float64):
    """Of one weight: |g - g*| / |g*| and a cosine of 1. Of many: against numpy. At window T: 0 and 1."""
    step = lambda w, h, x: (w * h + x, w * h + x)  # noqa: E731
    scalar = Cell(lambda key, size: jnp.array(0.8), lambda w, shape: jnp.zeros((*shape, 1)), step)
    h = (1 - 0.8 ** np.arange(7)) / 0.2
    kept = [sum(0.8 ** (5 - s) * h[s] for s in range(6 - window, 6)) for window in (1, 3, 6)]
    last = lambda ys: ys[-1, 0, 0]  # noqa: E731
    bias = jax.jit(lambda w: truncation_bias(scalar, w, np.ones((6, 1, 1)), last, (1, 3, 6), stride=1))(0.8)
    np.testing.assert_allclose(bias.relative_error, [1 - each / kept[-1] for each in kept], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(bias.cosine, 1, rtol=1e-12)

    cell, params, xs = small_case("lstm(hidden=3)", 8)
    windows = 4 ** np.arange(2)  # numbers of NumPy too
    bias = jax.jit(lambda p: truncation_bias(cell, p, xs, weigh, (*windows, 8), stride=1))(params)
    exact = ravel(gradient(cell, params, xs, window=8))
    for place, window in enumerate((1, 4, 8)):
        g = exact if window == 8 else ravel(gradient(cell, params, xs, window=window, stride=1))
        np.testing.assert_allclose(
            bias.relative_error[place], np.linalg.norm(g - exact) / np.linalg.norm(exact), 1e-10, 1e-14
        )
        np.testing.assert_allclose(bias.cosine[place], g @ exact / np.linalg.norm(g) / np.linalg.norm(exact), 1e-10)
    assert bias.relative_error[0] > bias.relative_error[1] > 0.001 and bias.relative_error[2] == 0


def test_the_bias_of_gradients_below_the_square_root_of_float32():
    cell, params, xs = small_case("gru(hidden=3)", 4)
    run = jax.jit(lambda p, scale: truncation_bias(cell, p, xs, lambda ys: scale * weigh(ys), (2,)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), run(params, 1e-30), run(params, 1.0))


@pytest.mark.parametrize(
    "window, stride, says", [(0, None, "window=0"), (3, 4, "stride=4; expected 1 to window=3"), (3, 0, "stride=0")]
)
def test_refusals(window, stride, says):
    cell, params, xs = small_case("gru(hidden=2)", 5)
    with pytest.raises(UserError, match=says):
        truncated(cell, params, xs, window=window, stride=stride)


def test_integer_carries_are_refused():
    counting = Cell(
        lambda key, size: (), lambda p, shape: jnp.zeros((*shape, 1), jnp.int32), lambda p, s, x: (s + 1, x)
    )
    with pytest.raises(UserError, match="int32"):
        truncated(counting, (), jnp.zeros((4, 1, 1)), window=2)

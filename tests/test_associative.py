"""Strategy 'associative' against the plain scan."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise, random_carry, random_params

from seqjax import Cell, UserError, unroll, zero_nudge
from seqjax.cells.indrnn import indrnn
from seqjax.cells.linear import LinearStep
from seqjax.cells.lru import lru
from seqjax.cells.lstm import lstm
from seqjax.cells.min_gru import min_gru
from seqjax.cells.min_lstm import min_lstm
from seqjax.unroll import recording

B, D, H = 3, 2, 4
run = jax.jit(unroll, static_argnums=0)
LINEAR = {"lru": lru(H), "min_gru": min_gru(H), "min_lstm": min_lstm(H)}


@functools.partial(jax.jit, static_argnums=(0, 6))
def compare(cell, params, clean, spoiled, start, lengths, reverse):
    """Carry, ys and gradients of a loss that reads all of them, by the plain scan and all at once."""

    def run(strategy, xs, nudge):
        def loss(params, xs, start, nudge):
            given = {"lengths": lengths, "reverse": reverse, "nudge": nudge, "strategy": strategy}
            carry, ys = unroll(cell, params, xs, start, **given)
            weight = jnp.cos(jnp.arange(ys.size, dtype=ys.dtype)).reshape(ys.shape)
            return jnp.sum(weight * ys) + sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(carry)), (carry, ys)

        return jax.grad(loss, (0, 1, 2, 3), has_aux=True)(params, xs, start, nudge)

    return run("associative", *spoiled), run("scan", *clean)


def drawn(cell, steps, dtype=jnp.float64):
    """Parameters, inputs [steps, B, D], a carry, a nudge."""
    params, xs = random_params(cell, dtype, D), noise(1, steps, B, D).astype(dtype)
    nudge = jax.tree.map(lambda leaf: (0.1 * noise(3, *leaf.shape)).astype(dtype), zero_nudge(cell, params, xs))
    return params, xs, random_carry(cell, params, B), nudge


@pytest.mark.parametrize("name, reverse", [("lru", True), ("min_lstm", False)])
def test_values_and_gradients_are_the_scans(name, reverse, float64):
    """Padded with NaN, which no value and no gradient knows of; a length of zero gives the carry back."""
    params, xs, start, nudge = drawn(LINEAR[name], 4)
    lengths = np.array([4, 0, 3])
    late = (np.arange(4)[:, None] >= lengths)[..., None]
    spoiled = jax.tree.map(lambda leaf: np.where(late, np.nan, leaf), (xs, nudge))
    close(*compare(LINEAR[name], params, (xs, nudge), spoiled, start, lengths, reverse))


@pytest.mark.parametrize("steps", [0, 1, 2, 1000])
def test_any_number_of_steps(steps, float64):
    cell = LINEAR["min_gru"]
    params, xs, start, _ = drawn(cell, steps)
    run = jax.jit(lambda p, x, s: [unroll(cell, p, x, s, strategy=name) for name in ("scan", "associative")])
    close(*run(params, xs, start), 1e-11)


def test_dtypes_are_the_scans():
    """bfloat16 throughout; parameters in bfloat16 and a carry in float32; and the values."""
    cell = LINEAR["lru"]
    params, xs, start, _ = drawn(cell, 9, jnp.bfloat16)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), start)
    ways = [lambda p, x, s, n=name: unroll(cell, p, x, s, strategy=n) for name in ("scan", "associative")]
    for begin in (start, wide):
        plain, fast = (jax.eval_shape(way, params, xs, begin) for way in ways)
        assert jax.tree.map(lambda leaf: leaf.dtype, plain) == jax.tree.map(lambda leaf: leaf.dtype, fast)
    close(*jax.jit(lambda *given: [way(*given) for way in ways])(params, xs, start), 5e-2)


def test_without_batch_or_with_two_axes_or_mapped(float64):
    cell = LINEAR["min_lstm"]
    params, xs, lengths = random_params(cell, input_size=D), noise(1, 4, 2, 3, D), np.array([[1, 4, 3], [2, 4, 4]])

    @jax.jit
    def ways(params, xs):
        run = lambda xs, n: unroll(cell, params, xs, lengths=n, strategy="associative")  # noqa: E731
        mapped = jax.vmap(jax.vmap(run, (1, 0), (0, 1)), (1, 0), (0, 1))(xs, lengths)
        return run(xs, lengths), mapped, unroll(cell, params, xs, lengths=lengths)

    whole, mapped, plain = ways(params, xs)
    close(whole, plain)
    close(mapped, plain)


def test_forwards_over_backwards(float64):
    """Second order: a product with the Hessian, of parameters and nudge, through a padded sequence."""
    cell = min_gru(2)
    params, xs, lengths = random_params(cell, input_size=D), noise(1, 3, 2, D), np.array([3, 2])
    at = params, zero_nudge(cell, params, xs)
    towards = jax.tree.map(lambda leaf: noise(5, *leaf.shape), at)

    def product(strategy):
        def loss(params, nudge):
            return jnp.sum(jnp.sin(unroll(cell, params, xs, lengths=lengths, nudge=nudge, strategy=strategy)[1]))

        return jax.jvp(jax.grad(loss, (0, 1)), at, towards)

    close(*jax.jit(lambda: [product(strategy) for strategy in ("scan", "associative")])())


@pytest.mark.parametrize("cell", [lstm(H), indrnn(H), recording(LINEAR["lru"])], ids=["lstm", "indrnn", "recording"])
def test_a_cell_that_is_not_linear_is_refused(cell):
    params = random_params(cell, jnp.float32, D)
    with pytest.raises(UserError, match="'associative' needs a cell that is linear in its carry") as caught:
        unroll(cell, params, noise(1, 4, B, D), strategy="associative")
    assert "'quasi_deer'" in str(caught.value) and "\n" not in str(caught.value)


def test_a_cell_of_ones_own_says_that_it_is_linear(float64):
    """h_t = w h_{t-1} + x_t: a discounted sum."""
    step = LinearStep(lambda w, x: (w, x), lambda w, h, x: 2 * h)
    cell = Cell(lambda key, size: jnp.full(size, 0.5), lambda w, shape: jnp.zeros((*shape, w.shape[0])), step)
    run = jax.jit(lambda w, xs: unroll(cell, w, xs, strategy="associative")[1])
    ys = run(np.array([0.5, 2.0]), np.ones((3, 2)))
    np.testing.assert_array_equal(ys, 2 * np.array([[1, 1], [1.5, 3], [1.75, 7]]))

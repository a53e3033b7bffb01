"""What every cell must do: checks that take any Cell, of this package or of a user, in 64-bit mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from seqjax import unroll
from seqjax.types import Cell

STEPS, BATCH, INPUT = 4, 2, 3


def noise(seed, *shape, dtype=None):
    """Normal numbers [*shape]."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@functools.cache
def begin(cell: Cell, input_size, seed):
    """The parameters a cell begins with, made once for all tests."""
    return jax.tree.map(np.asarray, cell.init(jax.random.key(seed), input_size))


def moved(tree, by, dtype):
    """A tree with noise added to every leaf."""
    leaves, form = jax.tree.flatten(tree)
    noisy = [np.asarray(leaf, float) + by * noise(n, *leaf.shape) for n, leaf in enumerate(leaves)]
    return jax.tree.unflatten(form, [jnp.asarray(leaf, dtype) for leaf in noisy])


def random_params(cell: Cell, dtype=jnp.float64, input_size=INPUT, seed=0):
    """Parameters without a zero in them, so that no bias and no peephole goes untested."""
    return moved(begin(cell, input_size, seed), 0.3, dtype)


def random_carry(cell: Cell, params, *batch_shape):
    """A carry without a zero in it."""
    carry = cell.initial_carry(params, batch_shape)
    return moved(carry, 0.5, jax.tree.leaves(carry)[0].dtype)


def close(one, other, tolerance=1e-12):
    """Two trees of the same structure hold the same numbers."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=tolerance, atol=tolerance)


def equal(one, other):
    """Two trees of the same structure hold the same numbers, bit for bit."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_array_equal(np.asarray(a, float), np.asarray(b, float))


def shapes(tree):
    """A tree's shapes and dtypes."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def init_depends_on_the_key_alone(cell: Cell):
    """The same key gives the same finite parameters, another key others, of the same shapes."""
    once, again, other = (cell.init(jax.random.key(seed), INPUT) for seed in (0, 0, 1))
    equal(once, again)
    assert shapes(once) == shapes(other)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(once))
    assert any(bool((a != b).any()) for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(other)))


def initial_carry_begins_with_the_batch(cell: Cell):
    """Any batch shape, in the parameters' dtype, and the same for every sequence."""
    params = random_params(cell)
    one = cell.initial_carry(params, ())
    for batch_shape in [(), (BATCH,), (BATCH, 5)]:
        carry = cell.initial_carry(params, batch_shape)
        spread = jax.tree.map(lambda leaf, shape=batch_shape: jnp.broadcast_to(leaf, (*shape, *leaf.shape)), one)
        assert shapes(carry) == shapes(spread)
        equal(carry, spread)


def a_step_keeps_the_form_of_the_carry(cell: Cell):
    """Structure, shapes and dtypes of the carry are those it had, in every precision."""
    for dtype in (jnp.float32, jnp.float64, jnp.bfloat16):
        params = random_params(cell, dtype)
        before = jax.eval_shape(lambda p: cell.initial_carry(p, (BATCH,)), params)
        after, y = jax.eval_shape(cell.step, params, before, jax.ShapeDtypeStruct((BATCH, INPUT), dtype))
        assert jax.tree.structure(after) == jax.tree.structure(before)
        assert shapes(after) == shapes(before)
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(before))
        assert y.dtype == dtype and y.shape[:-1] == (BATCH,)


def a_step_takes_any_leading_axes(cell: Cell):
    """One call over [2, 5, D], vmap over both axes, and one sequence at a time give the same."""
    params, x = random_params(cell), noise(1, BATCH, 5, INPUT)
    carry = random_carry(cell, params, BATCH, 5)
    places = [(0, 0), (BATCH - 1, 3)]

    @jax.jit
    def three_ways(params, carry, x):
        mapped = jax.vmap(jax.vmap(cell.step, (None, 0, 0)), (None, 0, 0))(params, carry, x)
        alone = [cell.step(params, jax.tree.map(lambda leaf, at=at: leaf[at], carry), x[at]) for at in places]
        return cell.step(params, carry, x), mapped, alone

    whole, mapped, alone = three_ways(params, carry, x)
    close(mapped, whole)
    close(alone, [jax.tree.map(lambda leaf, at=at: leaf[at], whole) for at in places])


def scan_is_the_loop_and_jit_changes_nothing(cell: Cell):
    """unroll, compiled, gives what a Python loop over the bare step gives, not compiled."""
    params, xs = random_params(cell), noise(2, STEPS, BATCH, INPUT)
    carry, ys = cell.initial_carry(params, (BATCH,)), []
    for x in xs:
        carry, y = cell.step(params, carry, x)
        ys.append(y)
    loop = carry, jnp.stack(ys)
    close(jax.jit(lambda p, x: unroll(cell, p, x))(params, xs), loop)


def gradients_are_those_of_finite_differences(cell: Cell):
    """With respect to parameters, carry and inputs, forwards and backwards."""
    params = random_params(cell)
    at = params, random_carry(cell, params, BATCH), noise(3, BATCH, INPUT)
    check_grads(jax.jit(cell.step), at, order=1, modes=("fwd", "rev"))


CELL_CONTRACT = [
    init_depends_on_the_key_alone,
    initial_carry_begins_with_the_batch,
    a_step_keeps_the_form_of_the_carry,
    a_step_takes_any_leading_axes,
    scan_is_the_loop_and_jit_changes_nothing,
    gradients_are_those_of_finite_differences,
]

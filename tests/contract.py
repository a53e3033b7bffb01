"""What every cell must do: checks that take any Cell, of this package or of a user, in 64-bit mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import cells, spec, unroll
from seqjax.types import Cell

STEPS, BATCH, INPUT = 4, 2, 3


def noise(seed, *shape, dtype=float):
    """Normal numbers [*shape], of NumPy, so that what a test makes of them is not compiled."""
    return np.random.default_rng(seed).normal(size=shape).astype(jax.dtypes.canonicalize_dtype(dtype))


@functools.cache
def begin(cell: Cell, input_size, seed):
    """The parameters a cell begins with, made once for all tests."""
    return jax.tree.map(np.asarray, cell.init(jax.random.key(seed), input_size))


def moved(tree, by, dtype):
    """A tree with noise added to every leaf."""
    leaves, form = jax.tree.flatten(tree)
    noisy = [np.asarray(leaf, float) + by * noise(n, *leaf.shape) for n, leaf in enumerate(leaves)]
    return jax.tree.unflatten(form, [leaf.astype(jax.dtypes.canonicalize_dtype(dtype)) for leaf in noisy])


def random_params(cell: Cell, dtype=jnp.float64, input_size=INPUT, seed=0):
    """Parameters without a zero in them, so that no bias and no peephole goes untested."""
    return moved(begin(cell, input_size, seed), 0.3, dtype)


def shaped(init, size):
    """Parameters without a zero in them, of the shapes that `init` gives to a key, without running it."""
    leaves, form = jax.tree.flatten(jax.eval_shape(init, jax.random.key(0)))
    return jax.tree.unflatten(form, [size * noise(n, *leaf.shape) for n, leaf in enumerate(leaves)])


def small_case(form, steps=6, batch=2, size=0.7):
    """The cell of a spec, parameters without a zero in them, and inputs [T, B, 2]."""
    cell = spec.build(form, [cells], Cell)
    return cell, shaped(lambda key: cell.init(key, 2), size), noise(99, steps, batch, 2)


def weigh(ys):
    """A loss in which every output has a weight of its own."""
    return jnp.sum(noise(98, *ys.shape) * ys)


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


def slopes_are_differences(f, *at, forward=True, tolerance=1e-7):
    """Along one direction, a function's derivatives by reverse and forward mode are the central difference."""
    step, leaves = 1e-5, jax.tree.leaves(at)
    along = jax.tree.unflatten(
        jax.tree.structure(at), [noise(n + 20, *np.shape(leaf)) for n, leaf in enumerate(leaves)]
    )
    ends = jax.tree.map(lambda leaf, move: np.stack([leaf + step * move, leaf - step * move]), at, along)

    @jax.jit
    def ways(at, along, ends):
        difference = jax.tree.map(lambda y: (y[0] - y[1]) / (2 * step), jax.vmap(f)(*ends))
        weights = jax.tree.map(lambda y: noise(19, *y.shape), difference)
        back = jax.vjp(f, *at)[1](weights)
        dots = [sum(map(jnp.vdot, *map(jax.tree.leaves, pair))) for pair in ((back, along), (weights, difference))]
        return dots, difference, jax.jvp(f, at, along)[1] if forward else difference

    (by_reverse, measured), difference, by_forward = ways(at, along, ends)
    close((by_reverse, by_forward), (measured, difference), tolerance)


def shapes(tree):
    """A tree's shapes and dtypes."""
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def init_depends_on_the_key_alone(cell: Cell):
    """The same key gives the same finite parameters, another key others, of the same shapes."""
    once, again, other = (jax.tree.map(np.asarray, cell.init(jax.random.key(seed), INPUT)) for seed in (0, 0, 1))
    equal(once, again)
    assert shapes(once) == shapes(other)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(once))
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(other)))


def initial_carry_begins_with_the_batch(cell: Cell):
    """Any batch shape, in the parameters' dtype, and the same for every sequence."""
    params = random_params(cell)
    one = cell.initial_carry(params, ())
    for batch_shape in [(), (BATCH,), (BATCH, 5)]:
        carry = cell.initial_carry(params, batch_shape)
        spread = jax.tree.map(lambda leaf, shape=batch_shape: np.broadcast_to(leaf, (*shape, *leaf.shape)), one)
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

    @jax.jit
    def three_ways(params, carry, x):
        mapped = jax.vmap(jax.vmap(cell.step, (None, 0, 0)), (None, 0, 0))(params, carry, x)
        flat = jax.tree.map(lambda leaf: leaf.reshape(BATCH * 5, *leaf.shape[2:]), (carry, x))
        alone = jax.lax.map(lambda one: cell.step(params, *one), flat)
        return cell.step(params, carry, x), mapped, alone

    whole, mapped, alone = three_ways(params, carry, x)
    close(mapped, whole)
    close(alone, jax.tree.map(lambda leaf: np.reshape(leaf, (BATCH * 5, *leaf.shape[2:])), whole))


def scan_is_the_loop_and_jit_changes_nothing(cell: Cell):
    """unroll, compiled, gives what a Python loop over the bare step gives, not compiled."""
    params, xs = random_params(cell), noise(2, STEPS, BATCH, INPUT)
    carry, ys = cell.initial_carry(params, (BATCH,)), []
    for x in xs:
        carry, y = cell.step(params, carry, x)
        ys.append(y)
    loop = carry, np.stack(ys)
    close(jax.jit(lambda p, x: unroll(cell, p, x))(params, xs), loop)


def gradients_are_those_of_finite_differences(cell: Cell):
    """With respect to parameters, carry and inputs, forwards and backwards."""
    params = random_params(cell)
    slopes_are_differences(cell.step, params, random_carry(cell, params, BATCH), noise(3, BATCH, INPUT))


CELL_CONTRACT = [
    init_depends_on_the_key_alone,
    initial_carry_begins_with_the_batch,
    a_step_keeps_the_form_of_the_carry,
    a_step_takes_any_leading_axes,
    scan_is_the_loop_and_jit_changes_nothing,
    gradients_are_those_of_finite_differences,
]

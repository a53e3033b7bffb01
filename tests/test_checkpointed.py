"""Strategy 'checkpointed': the plain scan's numbers, and how much less is kept. The options of all strategies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal, noise, random_carry, random_params, shaped

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.lstm import lstm
from seqjax.cells.rnn import rnn
from seqjax.models import sequence_model
from seqjax.unroll.checkpointed import part_length

B, D, H = 3, 2, 4
CELL = lstm(H)


@pytest.mark.parametrize("steps, reverse, levels", [(1, True, 3), (2, False, 3), (11, False, 2), (11, True, 3)])
def test_values_are_the_scans_bit_for_bit_and_gradients_to_rounding(steps, reverse, levels, float64):
    """Eleven steps can only be cut with some left over; padded, nudged, from a given carry."""
    cell = rnn(H)
    params, xs = random_params(cell, input_size=D), noise(1, steps, B, D)
    nudge = jax.tree.map(lambda leaf: 0.1 * noise(3, *leaf.shape), zero_nudge(cell, params, xs))
    start, lengths = random_carry(cell, params, B), np.array([steps, 1, (steps + 1) // 2])

    @jax.jit
    def run(params, xs, start, nudge):
        def of(strategy):
            def loss(params, xs, start, nudge):
                given = {"lengths": lengths, "reverse": reverse, "nudge": nudge, "strategy": strategy}
                carry, ys = unroll(cell, params, xs, start, **given)
                return jnp.sum(jnp.sin(ys)) + jnp.sum(jax.tree.leaves(carry)[-1] ** 2), (carry, ys)

            return jax.grad(loss, (0, 1, 2, 3), has_aux=True)(params, xs, start, nudge)

        return [of(strategy) for strategy in ("scan", f"checkpointed(levels={levels})")]

    (slopes, values), (other_slopes, other_values) = run(params, xs, start, nudge)
    (close if steps < 3 else equal)(other_values, values)  # a scan of one step is compiled as no loop
    close(other_slopes, slopes)


def test_a_thousand_steps_in_bfloat16():
    params, xs = random_params(CELL, jnp.bfloat16, D), noise(1, 1000, B, D).astype(jnp.bfloat16)
    run = jax.jit(unroll, static_argnames=("cell", "strategy"))
    equal(run(CELL, params, xs, strategy="checkpointed(levels=3)"), run(CELL, params, xs, strategy="scan"))


@pytest.mark.parametrize(
    "steps, levels, length", [(100, 2, 10), (99, 2, 11), (101, 2, 11), (100_000, 2, 400), (64, 3, 16), (7, 1, 1)]
)
def test_parts_divide_the_whole_where_they_can(steps, levels, length):
    assert part_length(steps, levels) == length


def kept(steps, strategy, hidden=256, batch=4):
    """Bytes that the compiled gradient of a loss on the last state holds in passing."""
    cell = rnn(hidden)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    xs = jax.ShapeDtypeStruct((steps, batch, 1), jnp.float32)
    loss = lambda params, xs: jnp.sum(unroll(cell, params, xs, strategy=strategy)[0].h)  # noqa: E731
    return jax.jit(jax.grad(loss)).lower(params, xs).compile().memory_analysis().temp_size_in_bytes


def test_memory_grows_with_the_root_of_the_length():
    """16 times the steps: 4 times the memory by two levels, 16^(1/3) = 2.5 times by three."""
    short, long = 1024, 16 * 1024
    plain, two, three = ("scan", "checkpointed", "checkpointed(levels=3)")
    kept_by_two, kept_by_three = kept(long, two), kept(long, three)
    assert kept_by_two < 5 * kept(short, two) and kept_by_three < 4 * kept(short, three)
    assert kept_by_three < kept_by_two < kept(long, plain) / 30


@pytest.mark.parametrize(
    "strategy, says",
    [
        ("checkpointed(levels=0)", "levels=0; expected at least 1"),
        ("checkpointed(levels=2.5)", "levels=2.5; expected a whole number"),
        ("checkpointed(level=2)", "did you mean 'levels'"),
        ("scan(reverse=True)", "takes no argument 'reverse'"),
        ("deer(damping=2)", "damping=2; expected from 0 to 1"),
        ("deer(tolerance=0)", "tolerance=0; expected more than 0"),
        ("quasi_deer(max_iterations=-1)", "max_iterations=-1"),
        ("scan(", "does not parse"),
        ("", "does not parse"),
        ("fast", "strategy='fast'; expected 'auto' or one of 'scan', 'fused'"),
    ],
)
def test_options_are_checked(strategy, says):
    params, xs = random_params(CELL, jnp.float32, D), noise(1, 4, B, D)
    with pytest.raises(UserError) as caught:
        unroll(CELL, params, xs, strategy=strategy)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_hands_its_strategy_on(float64):
    """Two directions, padded."""
    cell, lengths = rnn(H), np.array([6, 1, 4])
    build = lambda strategy: sequence_model(cell, D, 2, bidirectional=True, strategy=strategy)  # noqa: E731
    plain, newton = build("auto"), build("deer")
    params, xs = shaped(plain.init, 0.5), noise(1, 6, B, D)
    run = jax.jit(lambda params, xs: [model.apply(params, xs, lengths) for model in (plain, newton)])
    close(*run(params, xs), 1e-10)
    programs = [str(jax.make_jaxpr(model.apply)(params, xs, lengths)) for model in (plain, newton)]
    assert ["while" in program for program in programs] == [False, True]
    with pytest.raises(UserError, match="strategy='fast'"):
        build("fast")

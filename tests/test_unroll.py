"""`unroll`: cut and continued, padded, reversed, nudged; in two precisions, compiled and mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal, noise, random_carry, random_params

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.lstm import LSTMCarry, lstm
from seqjax.unroll import recording

B, D, H = 3, 2, 4
LSTM = lstm(H, peepholes=True)
EPS = {jnp.float32: 2e-6, jnp.bfloat16: 2e-2}
compiled = jax.jit(unroll, static_argnames=("cell", "reverse", "strategy"))

dtypes = pytest.mark.parametrize("dtype", EPS, ids=["float32", "bfloat16"])
spans = pytest.mark.parametrize("steps", [1, 2, 1000])


def jitted(*args, **options):
    """`unroll` compiled, its answer in NumPy."""
    return jax.tree.map(np.asarray, compiled(*args, **options))


def drawn(cell, steps, dtype=jnp.float32):
    """Parameters and inputs [steps, B, D]."""
    return random_params(cell, dtype, D), noise(1, steps, B, D).astype(dtype)


def some_lengths(steps):
    """The whole, one step, and something between."""
    return np.array([steps, 1, (steps + 1) // 2])


def take(carry, b):
    """The carry of one sequence."""
    return jax.tree.map(lambda leaf: leaf[b], carry)


@pytest.mark.parametrize(  # those that take all steps at once: their own files
    "steps, dtype, strategy",
    [
        *((steps, jnp.float32, "scan") for steps in (1, 2, 1000)),
        (1000, jnp.float32, "checkpointed"),
        (1000, jnp.bfloat16, "scan"),
    ],
)
def test_one_sequence_alone_is_one_of_a_batch(steps, dtype, strategy):
    """Padded, compiled: one padded sequence, mapped over the batch, is that sequence alone without its padding."""
    params, xs = drawn(LSTM, steps, dtype)
    lengths = some_lengths(steps)
    carry, ys = jitted(LSTM, params, xs, lengths=lengths, strategy=strategy)
    assert ys.dtype == dtype and ys.shape == (steps, B, H) and carry.c.dtype == dtype
    assert np.isfinite(ys).all()

    one = jax.jit(jax.vmap(lambda x, n: unroll(LSTM, params, x, lengths=n, strategy=strategy), (1, 0), (0, 1)))
    close(one(xs, lengths), (carry, ys), EPS[dtype])
    for b, length in enumerate(lengths.tolist()):
        alone = jitted(LSTM, params, xs[:length, b], strategy=strategy)
        close(alone, (take(carry, b), ys[:length, b]), EPS[dtype])
        assert not ys[length:, b].any()


@dtypes
@spans
def test_scan_is_the_loop(steps, dtype):
    params, xs = drawn(LSTM, steps, dtype)
    carry, ys, step = LSTM.initial_carry(params, (B,)), [], jax.jit(LSTM.step)
    for x in xs:
        carry, y = step(params, carry, x)
        ys.append(y)
    close(jitted(LSTM, params, xs), (carry, np.stack(ys)), EPS[dtype])


@pytest.mark.parametrize(
    "steps, cut, padded, dtype",
    [
        (2, 1, False, jnp.float32),
        (2, 1, True, jnp.bfloat16),
        (1000, 1, True, jnp.float32),
        (1000, 400, False, jnp.bfloat16),
        (1000, 400, True, jnp.float32),
        (1000, 999, True, jnp.bfloat16),
    ],
)
def test_cut_in_two_and_continued_is_the_whole(steps, cut, padded, dtype):
    params, xs = drawn(LSTM, steps, dtype)
    lengths = np.array([steps, cut + 1, (steps + cut + 1) // 2]) if padded else None
    first, second = (np.full(B, cut), lengths - cut) if padded else (None, None)
    carry, before = jitted(LSTM, params, xs[:cut], lengths=first)
    carry, after = jitted(LSTM, params, xs[cut:], carry, lengths=second)
    whole = jitted(LSTM, params, xs, lengths=lengths)
    (close if min(cut, steps - cut) == 1 else lambda a, b, _: equal(a, b))(
        (carry, np.concatenate([before, after])), whole, EPS[dtype]
    )  # a scan of one step is compiled as no loop at all, and may round differently


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_through_a_cut_are_those_of_the_whole(reverse, float64):
    cell = LSTM
    params, xs = drawn(cell, 6, jnp.float64)
    start = random_carry(cell, params, B)

    def whole(params, xs, start):
        return jnp.sum(jnp.sin(unroll(cell, params, xs, start, reverse=reverse)[1]))

    def halves(params, xs, start):
        parts = [xs[:2], xs[2:]][:: -1 if reverse else 1]
        carry, one = unroll(cell, params, parts[0], start, reverse=reverse)
        _, other = unroll(cell, params, parts[1], carry, reverse=reverse)
        return jnp.sum(jnp.sin(one)) + jnp.sum(jnp.sin(other))

    slopes = [jax.jit(jax.grad(run, (0, 1, 2)))(params, xs, start) for run in (halves, whole)]
    close(*slopes)


@dtypes
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_invisible(reverse, dtype):
    """Whatever stands in the padding, no value and no gradient knows of it, bit for bit."""
    steps = 5
    params, clean = drawn(LSTM, steps, dtype)
    lengths = np.array([steps, 1, 3])
    valid = (np.arange(steps)[:, None] < lengths)[..., None]
    nudge = jax.tree.map(lambda leaf: (0.1 * noise(3, *leaf.shape)).astype(dtype), zero_nudge(LSTM, params, clean))
    start = random_carry(LSTM, params, B)

    @jax.jit
    def run(params, xs, start, nudge):
        def loss(params, xs, start, nudge):
            carry, ys = unroll(LSTM, params, xs, start, lengths=lengths, reverse=reverse, nudge=nudge)
            return jnp.sum(jnp.sin(ys)) + jnp.sum(carry.c**2), (carry, ys)

        return jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True)(params, xs, start, nudge)

    runs = []
    for padding in (0, np.nan, np.inf, -1e30):
        given = np.where(valid, clean, np.asarray(padding, dtype))
        runs.append(jax.tree.map(lambda leaf: np.asarray(leaf, float), run(params, given, start, nudge)))
        equal(runs[-1], runs[0])
    (_, (_, ys)), (_, input_slopes, _, nudge_slopes) = runs[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(runs[0]))
    for leaf in (ys, input_slopes, *jax.tree.leaves(nudge_slopes)):
        assert not np.where(valid, 0, leaf).any()
    assert np.where(valid, input_slopes != 0, True).all()


def test_nudges_in_the_padding_are_invisible():
    params, xs = drawn(LSTM, 5)
    lengths = np.array([5, 1, 3])
    late = (np.arange(5)[:, None] >= lengths)[..., None]
    calm = zero_nudge(LSTM, params, xs)
    nudge = jax.tree.map(lambda leaf: np.where(late, np.float32(np.nan), leaf), calm)
    for strategy in ("scan", "fused"):

        @jax.jit
        def run(params, nudge, strategy=strategy):
            loss = lambda p: jnp.sum(unroll(LSTM, p, xs, lengths=lengths, nudge=nudge, strategy=strategy)[1] ** 2)  # noqa: E731
            return jax.value_and_grad(loss)(params)

        equal(run(params, nudge), run(params, calm))


@pytest.mark.parametrize("steps, padded", [(1, True), (2, True), (1000, True), (1000, False)])
def test_reverse_is_each_sequence_reversed_by_hand(steps, padded):
    params, xs = drawn(LSTM, steps)
    lengths = some_lengths(steps) if padded else None
    start = random_carry(LSTM, params, B)
    carry, ys = jitted(LSTM, params, xs, start, lengths=lengths, reverse=True)
    for b, length in enumerate(lengths.tolist() if padded else [steps] * B):
        alone, back = jitted(LSTM, params, xs[:length, b][::-1], take(start, b))
        close((alone, back[::-1]), (take(carry, b), ys[:length, b]), EPS[jnp.float32])


def test_the_carry_comes_out_as_it_went_in():
    """Its dtype is kept, where the parameters have another; without steps past it, it is the last state."""
    params, xs = drawn(LSTM, 4, jnp.bfloat16)
    start = LSTM.initial_carry(random_params(LSTM, jnp.float32, D), (B,))
    carry, _ = jitted(LSTM, params, xs, start)
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype(jnp.float32)}
    params, xs = drawn(LSTM, 4)
    carry, ys = jitted(LSTM, params, xs, lengths=np.array([4, 1, 3]))
    close(carry.h, ys[[3, 0, 2], np.arange(B)])


def test_vmap_over_parameters_is_a_network_a_seed():
    seeds = [random_params(LSTM, jnp.float32, D, seed) for seed in range(3)]
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    xs, lengths = noise(1, 8, B, D), np.array([8, 1, 5])
    together = jax.jit(jax.vmap(lambda p: unroll(LSTM, p, xs, lengths=lengths)))(params)
    together = jax.tree.map(np.asarray, together)
    for seed, alone in enumerate(seeds):
        close(jitted(LSTM, alone, xs, lengths=lengths), take(together, seed), EPS[jnp.float32])


def test_batches_of_any_shape():
    params, xs, lengths = random_params(LSTM, jnp.float32, D), noise(1, 6, 2, 3, D), np.array([[1, 6, 3], [2, 4, 5]])
    carry, ys = jitted(LSTM, params, xs, lengths=lengths)
    flat_carry, flat = jitted(LSTM, params, xs.reshape(6, 6, D), lengths=lengths.reshape(6))
    close((carry.h.reshape(6, H), ys.reshape(6, 6, H)), (flat_carry.h, flat), EPS[jnp.float32])


def test_recording_tells_the_carries_that_enter():
    params, xs = drawn(LSTM, 4)
    start = random_carry(LSTM, params, B)
    carry, (entering, ys) = jitted(recording(LSTM), params, xs, start)
    close((carry, ys), jitted(LSTM, params, xs, start, strategy="scan"))
    close(take(entering, 0), start)
    close(take(entering, 3), jitted(LSTM, params, xs[:3], start)[0], EPS[jnp.float32])


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"strategy": "fast"}, "strategy='fast'; expected 'auto' or one of 'scan', 'fused'"),
        ({"lengths": jnp.array([1, 2])}, r"lengths of shape \(2,\) for a batch of shape \(3,\)"),
        ({"lengths": jnp.array(2)}, r"lengths of shape \(\)"),
        ({"lengths": jnp.ones((4, B), int)}, r"lengths of shape \(4, 3\)"),
        ({"carry": (jnp.zeros((B, 2)), jnp.zeros((B, 2)))}, r"the form PyTreeDef\(\(\*, \*\)\); expected .*LSTMCarry"),
        ({"carry": LSTMCarry(jnp.zeros(H), jnp.zeros(H))}, r"component \.h is of shape \[\d+\]; expected \[3, \d+\]"),
    ],
)
def test_refusals(arguments, says):
    params, xs = drawn(LSTM, 4)
    with pytest.raises(UserError, match=says):
        unroll(LSTM, params, xs, **arguments)

"""The fused strategy: the plain scan's numbers and derivatives of every order, and which cells it takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, noise, random_carry, random_params

from seqjax import UserError, unroll, zero_nudge
from seqjax.cells.activations import ACTIVATIONS
from seqjax.cells.gru import gru
from seqjax.cells.linen import linen
from seqjax.cells.lstm import LSTMCarry, lstm
from seqjax.cells.rnn import rnn
from seqjax.cells.scaled import scaled
from seqjax.cells.taps import changed
from seqjax.unroll import recording

T, B, D, H = 4, 3, 2, 3
PEEPHOLES = lstm(H, peepholes=True)
FORMS = {
    "coupled": lstm(H, peepholes=True, coupled=True),
    "1997": lstm(H, forget_gate=False, input_activation="hs97_g", output_activation="hs97_h"),
    "no output gate": lstm(H, output_gate=False, peepholes=True, input_activation="sigmoid"),
    "no input gate": lstm(H, input_gate=False, input_activation="relu", output_activation="sigmoid"),
    **{f"rnn of {each}": rnn(H, activation=each) for each in ACTIVATIONS if each != "tanh"},
}
STRATEGIES = ("scan", "fused")
ROUNDED = "fused(compute='bfloat16')"
# Small programs that run once: compiling them well is most of the time.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def point(cell, dtype=jnp.float64):
    """Parameters, inputs, a carry and a nudge, none of them zero."""
    params, xs = random_params(cell, dtype, D), noise(1, T, B, D).astype(dtype)
    nudge = jax.tree.map(lambda leaf: (0.1 * noise(3, *leaf.shape)).astype(dtype), zero_nudge(cell, params, xs))
    return params, xs, random_carry(cell, params, B), nudge


def loss_of(cell, strategy, lengths=None, reverse=False):
    """A loss in which every output and every component of the last carry counts."""

    def loss(params, xs, carry, nudge):
        end, ys = unroll(cell, params, xs, carry, lengths=lengths, reverse=reverse, nudge=nudge, strategy=strategy)
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(end))

    return loss


def dot(one, other):
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)))


@functools.cache
def all_slopes(cell, strategy):
    """`slopes_of` compiled, once for all tests."""
    return jit(slopes_of(cell, strategy))


def slopes_of(cell, strategy, lengths=None, reverse=False):
    """The gradient with respect to everything."""
    return jax.grad(loss_of(cell, strategy, lengths, reverse), (0, 1, 2, 3))


@pytest.mark.parametrize("cell", [PEEPHOLES, gru(H), rnn(H)], ids=["lstm", "gru", "rnn"])
def test_every_derivative_is_the_plain_scans(cell, float64):
    """Value, gradient, forward mode, and second order, forward and reverse over reverse; padded and pushed."""
    at, lengths = point(cell), np.array([T, 1, 3])
    along = jax.tree.map(lambda leaf: noise(9, *leaf.shape), at)

    def derivatives(strategy):
        loss, slopes = loss_of(cell, strategy, lengths), slopes_of(cell, strategy, lengths)
        return loss(*at), jax.jvp(loss, at, along)[1], *jax.jvp(slopes, at, along)

    scan, fused = (jit(derivatives, static_argnums=0)(strategy) for strategy in STRATEGIES)
    close(fused, scan)
    if cell is PEEPHOLES:
        slopes = slopes_of(cell, "fused", lengths)
        close(jit(jax.grad(lambda at: dot(slopes(*at), along)))(at), scan[-1])


@pytest.mark.parametrize("cell", [PEEPHOLES, gru(H), rnn(H)], ids=["lstm", "gru", "rnn"])
def test_in_reverse(cell, float64):
    at, lengths = point(cell), np.array([T, 1, 3])
    scan, fused = (jit(slopes_of(cell, strategy, lengths, reverse=True))(*at) for strategy in STRATEGIES)
    close(fused, scan)


@pytest.mark.parametrize("form", FORMS)
def test_every_form(form, float64):
    at = point(FORMS[form])
    scan, fused = (all_slopes(FORMS[form], strategy)(*at) for strategy in STRATEGIES)
    close(fused, scan)


@pytest.mark.parametrize("which, products", [(0, 5), (1, 4), (2, 3), (3, 3)], ids=["params", "xs", "carry", "nudge"])
def test_what_is_not_asked_for_costs_nothing(which, products, float64):
    """Two products forwards and one backwards in the loops; after them those of the gradient that was asked for."""
    at = point(PEEPHOLES)
    one = jit(jax.grad(loss_of(PEEPHOLES, "fused"), which))
    close(one(*at), all_slopes(PEEPHOLES, "fused")(*at)[which])
    assert str(one.trace(*at).jaxpr).count("dot_general[") == products


def test_padding_holds_anything(float64):
    """Not a number in the inputs and in the nudge past a sequence's end: no gradient knows."""
    params, xs, carry, nudge = point(PEEPHOLES)
    lengths = np.array([T, 1, 3])
    late = (np.arange(T)[:, None] >= lengths)[..., None]
    slopes = jit(slopes_of(PEEPHOLES, "fused", lengths))
    clean = slopes(params, np.where(late, 0, xs), carry, nudge)
    spoilt = jax.tree.map(lambda leaf: np.where(late, np.nan, leaf), (xs, nudge))
    close(slopes(params, spoilt[0], carry, spoilt[1]), clean, 0)


def test_a_network_a_seed(float64):
    """vmap over parameters, and lax.map inside shard_map, give each network's own gradient."""
    seeds = [random_params(PEEPHOLES, jnp.float64, D, seed) for seed in range(2)]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    _, xs, carry, nudge = point(PEEPHOLES)
    one = jax.grad(lambda params: loss_of(PEEPHOLES, "fused")(params, xs, carry, nudge))
    plain = jax.grad(lambda params: loss_of(PEEPHOLES, "scan")(params, xs, carry, nudge))
    mesh, over = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("run",)), jax.sharding.PartitionSpec("run")
    mapped = jax.shard_map(lambda p: jax.lax.map(one, p), mesh=mesh, in_specs=over, out_specs=over, check_vma=False)
    expected, *found = (jit(slopes)(together) for slopes in (jax.vmap(plain), jax.vmap(one), mapped))
    for each in found:
        close(each, expected)


def test_batches_of_any_shape(float64):
    params, xs = random_params(gru(H), jnp.float64, D), noise(1, T, 2, 3, D)

    @jit
    def slopes(xs):
        return jax.grad(lambda p, x: jnp.sum(unroll(gru(H), p, x, strategy="fused")[1] ** 2), (0, 1))(params, xs)

    (of_w, of_x), flat = slopes(xs), slopes(xs.reshape(T, 6, D))
    close((of_w, np.reshape(of_x, (T, 6, D))), flat)


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 1e-5), (jnp.bfloat16, 0.1)], ids=["float32", "bfloat16"])
def test_precisions(dtype, tolerance):
    """Numbers as precise as the type, and results of that type."""
    at = point(lstm(H), dtype)
    scan, fused = (jit(slopes_of(lstm(H), strategy))(*at) for strategy in STRATEGIES)
    assert {leaf.dtype for leaf in jax.tree.leaves(fused)} == {jnp.dtype(dtype)}
    close(fused, scan, tolerance)


def loops(cell, params, xs, strategy):
    """The products inside the loops of a gradient, as the program has them."""
    program = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(unroll(cell, p, xs, strategy=strategy)[1])))(params)
    inside = [eqn.params["jaxpr"] for eqn in program.eqns if eqn.primitive.name == "scan"]
    return [str(body).count("dot_general") for body in inside]


@pytest.mark.parametrize(("batch", "turned"), [(1, 0), (2, 1)])
def test_recurrent_weights_are_turned_for_more_than_one_sequence(batch, turned):
    """Before the loop backwards. XLA on a CPU multiplies a single vector with turned ones many times slower."""
    params, xs = random_params(lstm(H), jnp.float32, D), noise(1, T, batch, D)
    program = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(unroll(lstm(H), p, xs, strategy="fused")[1])))(params)
    transposed = [eqn.invars[0].aval.shape for eqn in program.eqns if eqn.primitive.name == "transpose"]
    assert transposed.count((H, 4 * H)) == turned


def test_weight_gradients_are_taken_after_the_loop():
    """Two products forwards and one backwards in a step; the plain scan has two more."""
    params, xs = random_params(lstm(H), jnp.float32, D), noise(1, T, B, D)
    assert loops(lstm(H), params, xs, "fused") == [2, 1]
    assert sum(loops(lstm(H), params, xs, "scan")) > 3
    assert loops(lstm(H), params, xs, "auto") == [2, 1]


@pytest.mark.parametrize(
    "cell, says",
    [
        (changed(lstm(H), lambda name, value: value), "is not that of this package's lstm, gru or rnn"),
        (recording(lstm(H)), "is not that of"),
        (scaled(cell="lstm(hidden=3)", c=0), "the step 'scaled_step' is not that of"),
        (linen(hidden=H), "is not that of"),
        (lstm(H, full_gate_recurrence=True), "full_gate_recurrence=True"),
        (gru(H, reset_after=False), "reset gate before the product"),
    ],
)
def test_other_cells_are_left_to_the_scan(cell, says):
    """By name they are refused; 'auto' runs them, and gives the plain scan's program."""
    params, xs = random_params(cell, jnp.float32, D), noise(1, T, B, D, dtype=jnp.float32)
    with pytest.raises(UserError, match=says):
        unroll(cell, params, xs, strategy="fused")
    auto, scan = (
        str(jax.make_jaxpr(lambda p, name=name: unroll(cell, p, xs, strategy=name))(params))
        for name in ("auto", "scan")
    )
    assert auto == scan


def test_mixed_precision_is_left_to_the_scan():
    params, xs = random_params(lstm(H), jnp.bfloat16, D), noise(1, T, B, D).astype(jnp.bfloat16)
    start = lstm(H).initial_carry(random_params(lstm(H), jnp.float32, D), (B,))
    with pytest.raises(UserError, match="dtypes bfloat16, float32"):
        unroll(lstm(H), params, xs, start, strategy="fused")
    both = jax.jit(lambda *at: [unroll(lstm(H), *at, strategy=strategy)[1] for strategy in ("auto", "scan")])
    np.testing.assert_array_equal(*both(params, xs, start))


@pytest.mark.parametrize("cell", [lstm(8, peepholes=True), gru(8), rnn(8)], ids=["lstm", "gru", "rnn"])
def test_products_in_bfloat16(cell):
    """Close to float32 and not the same; all results float32; every product of the gradient is of that kind."""
    params, xs, carry, nudge = point(cell, jnp.float32)
    lengths = np.array([T, 1, 3])

    def run(cell, strategy, params, xs):
        return unroll(cell, params, xs, carry, lengths=lengths, nudge=nudge, strategy=strategy)

    @functools.partial(jit, static_argnums=0)
    def both(strategy):
        return run(cell, strategy, params, xs), slopes_of(cell, strategy, lengths)(params, xs, carry, nudge)

    (plain, slopes), (got, rounded_slopes) = both("scan"), both(ROUNDED)
    assert 1e-4 < np.abs(np.subtract(got[1], plain[1])).max() < 2e-2
    assert {leaf.dtype for leaf in jax.tree.leaves((got, rounded_slopes))} == {jnp.dtype(jnp.float32)}
    close(rounded_slopes, slopes, 5e-2)

    program = str(jax.make_jaxpr(slopes_of(cell, ROUNDED))(params, xs, carry, nudge))
    assert program.count("dot_general[") == program.count("precision=BF16_BF16_F32") > 4
    if isinstance(carry, LSTMCarry):  # whose h is in the products alone, so that its step can be rounded by hand
        weights, short = rounded(params, "w_x", "w_h"), xs.astype(jnp.bfloat16).astype(jnp.float32)
        by_hand = cell._replace(step=lambda params, carry, x: cell.step(params, rounded(carry, "h"), x))
        close(got, jit(run, static_argnums=(0, 1))(by_hand, "scan", weights, short), 1e-5)


def rounded(leaves, *names):
    """A NamedTuple with some of its leaves rounded to bfloat16."""
    return leaves._replace(**{name: getattr(leaves, name).astype(jnp.bfloat16).astype(jnp.float32) for name in names})


def test_rounding_is_of_float32_alone(float64):
    at = point(lstm(H))
    with pytest.raises(UserError, match=r"compute='bfloat16' rounds products of float32; .* are float64"):
        loss_of(lstm(H), ROUNDED)(*at)
    with pytest.raises(UserError, match="compute='float16'; expected 'bfloat16' or None"):
        loss_of(lstm(H), "fused(compute='float16')")(*at)

"""Decoding, of a step whose chances are a table: greedy, beams and samples against what a loop says."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close

from seqjax.models.decoding import beam, greedy, narrowed, sampled, without
from seqjax.types import UserError

V, B = 4, 3


def table_step(seed, symbols=V):
    """A step whose logits depend on the token, on the number of steps taken, on the memory and on a hidden sum."""
    tables = np.random.default_rng(seed).normal(scale=1.5, size=(50, symbols, symbols)).astype(np.float32)

    @jax.jit
    def step(memory, state, token):
        number, total = state
        total = 0.7 * total + memory * (1.0 + token)
        return (number + 1, total), jnp.asarray(tables)[number, token] + jnp.sin(total)[:, None] * jnp.arange(symbols)

    return step


def begun(count=B):
    memory = np.float32(0.3 * (1.0 + np.arange(count)))
    return memory, (np.zeros(count, np.int32), np.zeros(count, np.float32)), np.ones(count, np.int32)


def log_softmax(logits):
    """Of one row [1, V], by NumPy."""
    logits = np.asarray(logits[0], float)
    return logits - np.log(np.exp(logits).sum())


def enumerated(step, memory, begin, b, most):
    """Every sequence up to `most` symbols, ended by 0 or as long as that: {symbols: log chance}, by a plain loop."""
    found = {}

    def extend(said, state, token, score):
        state, logits = step(memory[b : b + 1], state, np.array([token]))
        chances = log_softmax(logits)
        for symbol in range(V):
            longer, total = (*said, symbol), score + chances[symbol]
            if symbol == 0 or len(longer) == most:
                found[longer] = total
            else:
                extend(longer, state, symbol, total)

    extend((), FRESH, int(begin[b]), 0.0)
    return found


FRESH = begun(1)[1]


def read_out(decoded, b):
    return tuple(int(token) for token in decoded.tokens[: int(decoded.lengths[b]), b])


def test_a_beam_of_all_sequences_is_exhaustive_search():
    """The best of all there are, with its score; with a length penalty too. Each ends with 0 or is cut at 3."""
    step, (memory, state, begin) = table_step(0), begun()
    search = jax.jit(functools.partial(beam, step, end=0, most=3, width=64, length_penalty=0.8))
    best, kept = jax.device_get(search(memory, state, begin))
    for b in range(B):
        every = enumerated(step, memory, begin, b, 3)
        worth = {said: score / len(said) ** 0.8 for said, score in every.items()}
        top = max(worth, key=worth.get)
        assert read_out(best, b) == top
        assert float(best.score[b]) == pytest.approx(every[top], abs=1e-5)
        finite = np.isfinite(np.asarray(kept.score[b]))
        assert finite.sum() == len(every)
        ranked = (kept.score[b] / kept.lengths[b] ** 0.8)[finite]  # by worth: a penalty of another size ranks otherwise
        np.testing.assert_allclose(ranked, sorted(worth.values(), reverse=True), rtol=1e-4)
        np.testing.assert_allclose(np.sum(np.exp(kept.score[b][finite])), 1, rtol=1e-5)


def test_a_beam_of_one_is_greedy_and_greedy_is_the_loop():
    step, (memory, state, begin) = table_step(3), begun()
    both = jax.jit(lambda *at: (greedy(step, *at, end=0, most=12), beam(step, *at, end=0, most=12, width=1)[0]))
    one, other = jax.device_get(both(memory, state, begin))
    close(one._asdict(), other._asdict(), 1e-5)
    ended = []
    for b in range(B):
        said, total, token = [], 0.0, 1
        state = FRESH
        while len(said) < 12 and (not said or said[-1] != 0):
            state, logits = step(memory[b : b + 1], state, np.array([token]))
            token = int(np.argmax(logits))
            total += log_softmax(logits)[token]
            said.append(token)
        assert read_out(one, b) == tuple(said) and not np.asarray(one.tokens)[len(said) :, b].any()
        assert float(one.score[b]) == pytest.approx(total, abs=1e-4)
        ended.append(said[-1] == 0)
    assert any(ended)


def test_n_symbols_cost_n_steps():
    """The step is called as often as the longest sequence has symbols, and not once more."""
    calls = []

    def step(memory, state, token):
        jax.debug.callback(lambda: calls.append(1))
        logits = jnp.where(state[0][:, None] >= 4, jnp.array([9.0, 0, 0, 0]), jnp.array([0.0, 0, 9, 0]))
        return (state[0] + 1, state[1]), logits

    decoded = jax.jit(functools.partial(greedy, step, end=0, most=50))(*begun())
    jax.block_until_ready(decoded)
    jax.effects_barrier()
    assert len(calls) == 5 and decoded.lengths.tolist() == [5] * B


def test_what_may_be_drawn():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    narrow = jax.jit(narrowed, static_argnames=("top_k", "top_p"))
    kept = lambda **options: np.isfinite(narrow(logits, **options))[0].tolist()  # noqa: E731
    assert kept(top_k=2, top_p=None) == [True, True, False, False]
    assert kept(top_k=None, top_p=0.5) == [True, False, False, False]
    assert kept(top_k=None, top_p=0.51) == [True, True, False, False]
    assert kept(top_k=None, top_p=1.0) == kept(top_k=9, top_p=None) == [True] * 4
    assert np.isfinite(narrow(np.array([[20.0, 0, 0, -5]], np.float32), top_k=None, top_p=1.0)).all()
    assert kept(top_k=3, top_p=0.9) == [True, True, True, False]  # of .53, .32 and .16
    for options in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 1.5}):
        with pytest.raises(UserError, match=f"{next(iter(options))}="):
            sampled(jax.random.key(0), table_step(0), *begun(), end=0, most=2, **options)


def test_samples_come_as_often_as_they_should():
    """Sequences of up to two symbols against their chances; cold ones are greedy; forbidden ones never come."""
    count = 20000
    tables, start = table_step(5), begun(1)
    memory, state, begin = jax.tree.map(lambda leaf: np.repeat(leaf, count, 0), start)
    draw = jax.jit(functools.partial(sampled, step=tables, end=0, most=2), static_argnames="temperature")
    drawn = jax.device_get(draw(jax.random.key(0), memory=memory, state=state, begin=begin))
    said = [read_out(drawn, b) for b in range(400)]
    codes = drawn.tokens[0] * V + drawn.tokens[1]
    for symbols, score in enumerated(tables, start[0], start[2], 0, 2).items():
        code = symbols[0] * V + (symbols[1] if len(symbols) > 1 else 0)
        assert abs((codes == code).mean() - np.exp(score)) < 5 * (np.exp(score) / count) ** 0.5
    assert all(len(each) == 2 or each == (0,) for each in said)
    cold = draw(jax.random.key(1), memory=memory, state=state, begin=begin, temperature=1e-4)
    forbidden = without(tables, (0, 2))
    both = jax.jit(lambda *at: (greedy(tables, *at, end=0, most=2), greedy(forbidden, *at, end=0, most=6)))
    one, never = jax.device_get(both(*start))
    assert (np.asarray(cold.tokens) == one.tokens).all()
    assert not set(never.tokens[:, 0].tolist()) & {0, 2}


def test_all_beams_agree_on_what_they_keep():
    """Every hypothesis of a beam is a sequence of its own, best first, and its score is that of its symbols."""
    step, (memory, state, begin) = table_step(7), begun()
    _, kept = jax.device_get(jax.jit(functools.partial(beam, step, end=0, most=5, width=6))(memory, state, begin))
    for b in range(B):
        sequences = {tuple(kept.tokens[: int(n), b, k].tolist()): float(kept.score[b, k])
                     for k, n in enumerate(kept.lengths[b])}  # fmt: skip
        assert len(sequences) == 6 and list(sequences.values()) == sorted(sequences.values(), reverse=True)
        for said, score in itertools.islice(sequences.items(), 3):
            total, token, at = 0.0, 1, FRESH
            for symbol in said:
                at, logits = step(memory[b : b + 1], at, np.array([token]))
                total, token = total + log_softmax(logits)[symbol], symbol
            assert score == pytest.approx(total, abs=1e-4)

"""Reber's grammar: strings and streams against an acceptor that knows nothing of the sampler."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawing import SIZE, SMALLER, draw

from seqjax.tasks.continual_reber import continual_reber
from seqjax.tasks.grammar import SYMBOLS, legal_score, next_symbol_loss
from seqjax.tasks.showing import show
from seqjax.types import Batch, UserError

# An acceptor written from the published drawing, which knows nothing of the sampler

INNER = {  # (node, symbol) -> node; of Reber's graph after its B, nodes as in the drawing from left to right
    ("start", "T"): "top",
    ("top", "S"): "top",
    ("top", "X"): "top right",
    ("start", "P"): "bottom",
    ("bottom", "T"): "bottom",
    ("bottom", "V"): "bottom right",
    ("top right", "X"): "bottom",
    ("top right", "S"): "exit",
    ("bottom right", "P"): "top right",
    ("bottom right", "V"): "exit",
}


def inner_legal(read):
    """What may follow a beginning of a Reber string: its symbols; '' where it is whole; None where it is none."""
    if not read:
        return "B"
    node = "start"
    if read[0] != "B":
        return None
    for n, symbol in enumerate(read[1:], 1):
        if node == "exit":
            return "" if (symbol, n) == ("E", len(read) - 1) else None
        if (node, symbol) not in INNER:
            return None
        node = INNER[node, symbol]
    return "E" if node == "exit" else "".join(symbol for place, symbol in INNER if place == node)


def legal(read):
    """What may follow a beginning of an embedded Reber string, as inner_legal."""
    if not read:
        return "B"
    if read[0] != "B" or (len(read) > 1 and read[1] not in "TP"):
        return None
    if len(read) == 1:
        return "TP"
    for end in range(2, len(read) + 1):
        inside = inner_legal(read[2:end])
        if inside is None:
            return None
        if inside == "":
            rest, wanted = read[end:], read[1] + "E"
            return wanted[len(rest) : len(rest) + 1] if wanted.startswith(rest) else None
    return inside


def spell(tokens):
    return "".join(SYMBOLS[token] for token in tokens)


def test_the_acceptor_knows_strings_from_the_literature():
    for string in ("BTSSXXTVVE", "BPVVE", "BTXXVPSE", "BPTVPXVVE", "BTSXSE"):
        assert inner_legal(string) == ""
        assert legal(f"BT{string}TE") == "" and legal(f"BP{string}PE") == ""
        assert legal(f"BT{string}PE") is None and legal(f"BT{string}T") == "E"
    for string in ("BTSSPXSE", "BPTVVB", "BTXXVVSE", "BVVE"):
        assert inner_legal(string) is None


@pytest.mark.parametrize("form", [SMALLER["embedded_reber"], "embedded_reber(longest=9)"])
def test_every_string_is_of_the_grammar(form):
    """Each whole string is accepted, and each step's legal symbols are those that the acceptor allows there."""
    _, batch = draw(form)
    asked = {}
    for b, n in enumerate(batch.lengths.tolist()):
        string = spell([*batch.inputs[:n, b], batch.targets[n - 1, b].argmax()])
        assert legal(string) == ""
        assert spell(batch.targets[:n, b].argmax(-1)) == string[1:]
        np.testing.assert_array_equal(batch.mask[:, b], np.arange(len(batch.mask)) < n)
        assert not batch.targets[n:, b].any() and not batch.inputs[n:, b].any()
        for t in range(n):
            allowed = "".join(symbol for symbol, value in zip(SYMBOLS, batch.targets[t, b]) if value > 0)
            asked.setdefault(string[: t + 1], set()).add(allowed)
    assert all(
        len(found) == 1 and found == {"".join(sorted(legal(read), key=SYMBOLS.index))} for read, found in asked.items()
    )
    assert batch.lengths.min() == 8 and (batch.lengths.max() == 8 if "=9" in form else batch.lengths.max() > 20)


def test_each_way_of_a_branch_is_as_frequent():
    """Of the strings that are not cut short: the share of each choice at each node, within five standard errors."""
    _, batch = draw(SMALLER["continual_reber"])
    twos = (batch.targets > 0).sum(-1) == 2
    first = batch.targets.argmax(-1) == (batch.targets > 0).argmax(-1)
    seen = set()
    for pair in itertools.combinations(range(7), 2):
        here = twos & (batch.targets[..., pair[0]] > 0) & (batch.targets[..., pair[1]] > 0)
        if here.any():
            seen.add(spell(pair))
            assert abs(first[here].mean() - 0.5) < 5 * 0.5 / here.sum() ** 0.5
    assert seen == {"TP", "SX", "TV", "PV"}


def test_a_stream_that_is_carried_is_one_walk_in_windows():
    """Windows of 5 symbols, 223 of a stream, and of 10 others 2, of which the first does not count."""
    task = continual_reber(5, carried=1117)
    for windows, streams, count in ((task.examples.train, 1, 223), (task.examples.test, 10, 2)):
        assert windows.said.shape == windows.nodes.shape == (streams * count, 6)
        said, batch = np.asarray(windows.said).reshape(streams, count, 6), task.examples.batch(windows)
        np.testing.assert_array_equal(said[:, 1:, 0], said[:, :-1, -1])
        inputs = np.asarray(batch.inputs).T.reshape(streams, -1)
        targets = np.asarray(batch.targets).transpose(1, 0, 2).reshape(streams, -1, 7)
        for stream, asked in zip(inputs, targets):
            read = ""
            for symbol, target in zip(stream, asked, strict=True):
                read = spell([symbol]) if legal(read) == "" else read + spell([symbol])
                assert set(spell(np.flatnonzero(target > 0))) == set(legal(read) or "B")
    assert np.asarray(task.examples.batch(task.examples.test).mask).T.tolist() == [[0.0] * 5, [1.0] * 5] * 10
    assert np.asarray(task.examples.batch(task.examples.train).mask).all()
    for length in (1, 5):  # of the least that is taken something counts
        asked = continual_reber(length, carried=100 * (2 * length + 1)).examples.test.asked
        assert asked.sum() == len(asked) / 2 == 10
    for carried in (-1, 1000, 1099, 10**9):
        with pytest.raises(UserError, match=f"carried={carried}; expected 0, or 1100 = 100"):
            continual_reber(5, carried=carried)
    longer = continual_reber(5, carried=1117, tested=21).examples
    assert len(longer.test.said) == 40 and np.asarray(longer.test.asked).reshape(10, 4).sum(1).tolist() == [3] * 10
    np.testing.assert_array_equal(longer.train.said, task.examples.train.said)
    for given in ({"carried": 1117, "tested": 10}, {"carried": 1117, "tested": 10**7}, {"tested": 21}):
        with pytest.raises(UserError, match=f"tested={given['tested']}; expected 0, or beside carried more than 2"):
            continual_reber(5, **given)


def test_a_threshold_asks_for_the_legal_symbols_and_no_others():
    """Above .49 by their sigmoids, at every step that counts; without one the most active are asked for."""
    task, ranked = (continual_reber(5, outputs="sigmoid", threshold=each) for each in (0.49, 0.0))
    batch = task.sample(jax.random.key(0), 4)
    active = np.where(batch.targets > 0, 0.5, 0.4)
    active[2, 1] = np.where(batch.targets[2, 1] > 0, 0.48, 0.4)  # told apart, below the threshold
    active[3, 2] = np.where(batch.targets[3, 2] > 0, 0.9, 0.6)  # and above it
    outputs = jnp.asarray(np.log(active / (1 - active)))
    assert (task.score(outputs, batch), ranked.score(outputs, batch)) == (0.5, 1.0)
    assert task.score(outputs, batch._replace(mask=batch.mask.at[2, 1].set(0))) == 0.75
    assert task.score(outputs.at[0, 0].set(jnp.nan), batch) == 0.25
    assert "above 0.49, and no other" in task.criterion and "most active" in ranked.criterion
    for given in ({"threshold": 0.49}, {"threshold": 1.0, "outputs": "sigmoid"}, {"threshold": -0.1}):
        with pytest.raises(UserError, match=f"threshold={given['threshold']:g}; expected 0, or beside outputs='sigm"):
            continual_reber(5, **given)


def test_strings_that_are_bounded_are_those_that_would_have_been_drawn():
    """The distribution of strings of at most 13 symbols is that of the free grammar, given that length."""
    _, batch = draw("embedded_reber(longest=13)")
    strings = [spell([*batch.inputs[:n, b], batch.targets[n - 1, b].argmax()]) for b, n in enumerate(batch.lengths)]
    chances, begun = {}, {"": 1.0}
    while begun:
        for read, chance in list(begun.items()):
            del begun[read]
            if legal(read) == "":
                chances[read] = chance
            elif len(read) < 13:
                begun |= {read + symbol: chance / len(legal(read)) for symbol in legal(read)}
    total = sum(chances.values())
    assert set(strings) <= set(chances)
    for string, chance in chances.items():
        p = chance / total
        assert abs(strings.count(string) / SIZE - p) < 5 * (p * (1 - p) / SIZE) ** 0.5


def test_every_stream_is_strings_of_the_grammar_end_to_end():
    _, batch = draw(SMALLER["continual_reber"])
    ended = 0
    for b in range(300):
        stream = spell([*batch.inputs[:, b], batch.targets[-1, b].argmax()])
        read = ""
        for t, symbol in enumerate(stream):
            read += symbol
            assert legal(read) is not None
            if t < 30:
                wanted = "B" if legal(read) == "" else legal(read)
                assert {SYMBOLS[n] for n in np.flatnonzero(batch.targets[t, b])} == set(wanted)
            if legal(read) == "":
                read, ended = "", ended + 1
        assert spell(batch.targets[:, b].argmax(-1)) == stream[1:]
    assert ended > 300 and batch.lengths is None and batch.mask.all()


def test_the_score_of_a_grammar_wants_every_legal_symbol_before_all_others():
    targets = np.array([[[2, 1, 0]], [[0, 0, 2]]], np.float32)  # [T = 2, B = 1, 3]
    batch = Batch(np.zeros((2, 1), int), targets, np.ones((2, 1), np.float32))
    good = np.array([[[0.5, 0.4, 0.3]], [[0, 0, 1]]], np.float32)
    measure = jax.jit(lambda outputs, batch: (legal_score(outputs, batch), next_symbol_loss(outputs, batch)))
    for changed, score in [((0, 0, 1, 0.3), 0), ((0, 0, 1, 0.31), 1), ((1, 0, 0, 1.0), 0), ((0, 0, 0, 0.41), 1)]:
        outputs = good.copy()
        outputs[changed[:3]] = changed[3]
        assert measure(outputs, batch)[0] == score
    hidden = batch._replace(mask=np.array([[1], [0]], np.float32))
    assert measure(-good * np.array([[[-1]], [[1]]], np.float32), hidden)[0] == 1
    expected = np.log(np.exp(good).sum(-1))[:, 0] - [0.5, 1]
    assert float(measure(good, batch)[1]) == pytest.approx(expected.mean(), rel=1e-5)


def test_a_string_is_shown_as_it_is():
    task, batch = draw(SMALLER["embedded_reber"])
    n = int(batch.lengths[0])
    read, comes, _ = (line.split()[1:] for line in show(task, batch, 0).split("\n"))
    assert "".join(read) == spell(batch.inputs[:n, 0]) and comes[:-1] == read[1:] and comes[-1] == "E"


@pytest.mark.parametrize(
    "form",
    [
        "continual_reber(length=5)",
        "continual_reber(length=5, outputs='sigmoid', threshold=0.4)",
        "noise_free_lag(length=9)",
        "selective_copy(length=9, tokens=2)",
        "copy_memory(length=5)",
    ],
)
def test_a_sequence_that_is_masked_whole_counts_neither_as_right_nor_as_wrong(form):
    """As the windows before a stream's state has settled, or those that fill up the last group."""
    task, batch = draw(form)
    wrong = np.full((*batch.mask.shape, task.output_size), -1.0, np.float32)
    wrong[..., -1] = 9.0
    hidden = batch._replace(mask=batch.mask * (np.arange(batch.mask.shape[1]) < 3))
    assert float(task.score(wrong, hidden)) == float(task.score(wrong[:, :3], first_of(batch, 3))) < 1
    none = batch._replace(mask=0 * batch.mask)
    assert float(task.score(wrong, none)) == 0


def first_of(batch, count):
    """The first sequences of a batch."""
    return batch._replace(
        inputs=batch.inputs[:, :count], targets=batch.targets[:, :count], mask=batch.mask[:, :count], lengths=None
    )

"""The embedded Reber grammar: its transition graph, strings drawn from it, and what a prediction is worth."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.answering import ANSWERS, Answer
from seqjax.tasks.scoring import whole_sequences
from seqjax.tasks.showing import ends, length, table, targets
from seqjax.types import Array, Batch

SYMBOLS = "BTPSXVE"

# The Reber grammar: node -> what may come next, and the node that it leads to. (Reber 1967; the drawing
# of Cleeremans, Servan-Schreiber & McClelland 1989 and of Hochreiter & Schmidhuber 1997, figure 3)
REBER = {
    0: [("B", 1)],
    1: [("T", 2), ("P", 3)],
    2: [("S", 2), ("X", 4)],
    3: [("T", 3), ("V", 5)],
    4: [("X", 3), ("S", 6)],
    5: [("P", 4), ("V", 6)],
    6: [("E", 7)],
}
OUT = 7  # where the Reber grammar is left


def _embedded() -> dict[int, list[tuple[str, int]]]:
    """B, then T or P, a whole Reber string, the same T or P again, E."""
    upper, lower, last, end = 2, 2 + OUT + 1, 2 + 2 * (OUT + 1), 3 + 2 * (OUT + 1)
    graph = {0: [("B", 1)], 1: [("T", upper), ("P", lower)], last: [("E", end)], end: []}
    for start, symbol in ((upper, "T"), (lower, "P")):
        graph |= {start + node: [(s, start + to) for s, to in arcs] for node, arcs in REBER.items()}
        graph[start + OUT] = [(symbol, last)]
    return graph


EMBEDDED = _embedded()
START, END = 0, max(EMBEDDED)
SHORTEST = 9  # symbols of the shortest embedded string


class Chain(NamedTuple):
    """The graph as arrays, for N nodes of at most two arcs; a node of one arc has it twice."""

    symbol: np.ndarray  # [N, 2] what an arc says
    to: np.ndarray  # [N, 2] where it leads
    first: np.ndarray  # [T, N] or [1, N] the chance of the first arc, for each symbol of the string


def chain(longest: int | None) -> Chain:
    """A string of at most `longest` symbols; or with None a stream of strings, one after the other.

    At every branch each way has chance 1/2. Strings that would grow too long are as if drawn again:
    the chance of an arc is weighed by h[n, node], that of reaching the end in the n symbols left.
    """
    symbol, to = np.zeros((2, END + 1, 2), int)
    single = np.ones(END + 1, bool)
    for node, arcs in EMBEDDED.items():
        single[node] = len(arcs) < 2
        for n in range(2):
            said, lead = arcs[n % len(arcs)] if arcs else ("E", END)
            symbol[node, n], to[node, n] = SYMBOLS.index(said), lead
    if longest is None:
        to[to == END] = START
        return Chain(symbol, to, np.where(single, 1.0, 0.5)[None])
    reached = np.zeros((longest + 1, END + 1))
    reached[:, END] = 1
    for n in range(1, longest + 1):
        reached[n] = reached[n - 1][to].mean(1)
    ahead = reached[:-1][::-1][:, to]  # [T, N, 2] with the symbols that are left after this one
    total = ahead.sum(-1)
    first = np.divide(ahead[..., 0], total, out=np.ones_like(total), where=total > 0)
    return Chain(symbol, to, np.where(single, 1.0, first))


def walk(key: Array, chain: Chain, count: int, batch_size: int) -> tuple[Array, Array]:
    """The first `count` symbols of B strings [T, B], and the node before each of them [T, B]."""
    symbol, to = jnp.asarray(chain.symbol, jnp.int32), jnp.asarray(chain.to, jnp.int32)
    first = jnp.broadcast_to(jnp.asarray(chain.first, jnp.float32), (count, END + 1))
    chances = jax.random.uniform(key, (count, batch_size))

    def step(node: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        chance, first = at
        arc = (chance >= first[node]).astype(jnp.int32)
        return to[node, arc], (symbol[node, arc], node)

    _, (said, nodes) = jax.lax.scan(step, jnp.full((batch_size,), START, jnp.int32), (chances, first))
    return said, nodes


def answers(said: Array, nodes: Array) -> Array:
    """Targets [T, B, 7] from the symbols that come and the nodes before them: see `next_symbol_loss`."""
    legal = np.zeros((END + 1, len(SYMBOLS)), np.float32)
    for node, arcs in EMBEDDED.items():
        for symbol, _ in arcs:
            legal[node, SYMBOLS.index(symbol)] = 1
    return jnp.asarray(legal)[nodes] + jax.nn.one_hot(said, len(SYMBOLS))


def next_symbol_loss(outputs: Array, batch: Batch) -> Array:
    """Cross-entropy of the symbol that comes, in nats, a mean over the mask.

    Targets hold 2 for the symbol that comes, 1 for another that could have come, 0 for those that
    the grammar does not allow.
    """
    return ANSWERS["softmax"].loss(outputs, _comes(batch))


def next_symbol_squared_error(outputs: Array, batch: Batch) -> Array:
    """Squared error of sigmoid outputs; otherwise as `next_symbol_loss`."""
    return ANSWERS["sigmoid"].loss(outputs, _comes(batch))


def _comes(batch: Batch) -> Batch:
    return batch._replace(targets=jnp.argmax(batch.targets, -1))


LOSSES = {"softmax": next_symbol_loss, "sigmoid": next_symbol_squared_error}


def legal_score(outputs: Array, batch: Batch) -> Array:
    """Share of the sequences in which, at every step, each legal symbol is more active than all others."""
    legal = batch.targets > 0
    least = jnp.min(jnp.where(legal, outputs, jnp.inf), -1, keepdims=True)
    # of each output by itself, as NaN is not right, and XLA's minimum on a CPU passes over it
    right = jnp.all(jnp.where(legal, outputs >= least, outputs < least), -1)
    return whole_sequences(right, batch.mask)


def threshold_score(outputs: Array, batch: Batch, threshold: float) -> Array:
    """Share of the sequences in which, at every step, the legal symbols and no others have a σ above a threshold."""
    active = jax.nn.sigmoid(outputs)
    right = jnp.all(jnp.where(batch.targets > 0, active > threshold, active <= threshold), -1)
    return whole_sequences(right, batch.mask)


def memoryless_loss(chain: Chain, count: int, how: Answer) -> float:
    """Loss of the best guess from the time step and the symbol just read, over `count` steps.

    With J_t[a, b] the chance that the string goes on and its symbols t and t + 1 are a and b:
    Σ_t Σ_ab J_t[a, b] · doubt(J_t[a, ·] / Σ_b' J_t[a, b']) / Σ_t Σ_ab J_t[a, b].
    """
    nodes = np.eye(END + 1)[START]
    total = weight = 0.0
    for t in range(count):
        now, then = (chain.first[min(at, len(chain.first) - 1)] for at in (t, t + 1))
        pairs, after = np.zeros((len(SYMBOLS), len(SYMBOLS))), np.zeros(END + 1)
        for n, took in enumerate((nodes * now, nodes * (1 - now))):
            to = chain.to[:, n]
            np.add.at(after, to, took)
            for m, follows in enumerate((then[to], 1 - then[to])):
                np.add.at(pairs, (chain.symbol[:, n], chain.symbol[to, m]), took * follows * (to != END))
        known = pairs.sum(1)
        loss = np.sum(known * how.doubt(pairs / np.where(known > 0, known, 1)[:, None]))
        settled = len(chain.first) == 1 and np.abs(after - nodes).max() < 1e-9
        alike = count - t if settled else 1  # a stream that has forgotten where it began
        total, weight, nodes = total + alike * loss, weight + alike * pairs.sum(), after
        if settled:
            break
    return float(total / weight)


def show(batch: Batch, number: int) -> str:
    """A string as a person reads it: what is read, what comes next, and what could come."""
    steps = length(batch, number)
    said = [SYMBOLS[int(token)] for token in np.asarray(batch.inputs)[ends(steps), number]]
    asked = [np.asarray(target) for target in targets(batch, number, ends(steps))]
    legal = ["".join(symbol for symbol, value in zip(SYMBOLS, target) if value) for target in asked]
    return table({"input": said, "next": [SYMBOLS[int(target.argmax())] for target in asked], "legal": legal}, steps)

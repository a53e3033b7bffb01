"""The nets of the registry against the numbers of weights that the papers give."""

import jax
import pytest

from experiments.rows import registry
from seqjax.training.building import build
from seqjax.training.config import Config

ROWS = {(name, row.name): row for name, paper in registry().items() for row in paper.rows}


@pytest.mark.parametrize(
    ("paper", "row", "weights", "more"),
    [
        ("hochreiter1997", "embedded-reber", 264, 4 + 7),  # biases of cells' inputs and of outputs
        ("hochreiter1997", "embedded-reber-blocks", 276, 6 + 7),
        ("hochreiter1997", "noise-free-lag-2a", 10_504, 2 + 2 + 101),  # w_h, b and the outputs' biases, held still
        ("hochreiter1997", "noise-free-lag-2c-100-no-biases", 664, 6 + 2),  # the biases, held still
        ("hochreiter1997", "two-sequence-3a", 102, 1),
        ("hochreiter1997", "adding-100", 93, 0),
        ("hochreiter1997", "multiplication-100", 93, 0),
        ("hochreiter1997", "temporal-order-6a", 156, 0),
        ("hochreiter1997", "temporal-order-6b", 308, 0),
        ("gers2000", "continual-reber-online", 424, 8),  # biases of cells' inputs
    ],
)
def test_a_net_has_the_papers_weights(paper, row, weights, more):
    found = ROWS[paper, row]
    _, model = build(Config(found.cell, found.task, **found.settings))
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == weights + more

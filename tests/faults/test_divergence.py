"""A run that turns to NaN or infinity among several in one program: not a bit of the others changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from small_runs import trained_and_measured

from seqjax.training import prepare
from seqjax.training.preparing import initialize
from seqjax.training.state import NEVER

BAD = 1  # which of the four runs


def chunks(prepared, spoil):
    """Three chunks of the program and a probe, the parameters of one run spoiled before; as bytes, run by run.

    What is compared is one and the same compiled program, once with sound parameters in that place.
    """
    layout, data = prepared.layout, prepared.program.data
    place = int(np.flatnonzero(layout.slots == BAD)[0])
    state = initialize(prepared)
    spoiled = jax.tree.map(lambda leaf: np.array(leaf), state.params)
    for leaf in jax.tree.leaves(spoiled):
        leaf[place] = spoil(leaf[place])
    state, seen = state.replace(params=spoiled), []
    for _ in range(3):
        state, metrics = trained_and_measured(prepared.compiled, state, jnp.asarray(2, jnp.int32), data)
        seen.append(metrics)
    seen += [state, prepared.compiled.probe(state, data).norms.log10_norm]
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(seen))]
    runs = {
        int(slot): [leaf[place].tobytes() for leaf in leaves] for place, slot in enumerate(layout.slots) if slot >= 0
    }
    return runs, np.asarray(state.diverged_at)[place]


SPOILS = {
    "NaN in every number": lambda leaf: np.full_like(leaf, np.nan),
    "infinity in every number": lambda leaf: np.full_like(leaf, np.inf),
    "one NaN": lambda leaf: np.where(np.arange(leaf.size).reshape(leaf.shape) == 0, np.nan, leaf).astype(leaf.dtype),
    "numbers that overflow": lambda leaf: np.full_like(leaf, 3e38),
}
LONG = [
    ("run=1,vmap", "auto"),
    ("run=1,vmap", "deer"),
    ("run=1,map", "deer"),
    ("run=1,vmap", "checkpointed"),
    ("run=2", "auto"),
]
CASES = [("run=1,map", "auto"), *(pytest.param(*each, marks=pytest.mark.slow) for each in LONG)]


@pytest.mark.parametrize("mesh, strategy", CASES)
def test_the_others_are_equal_bit_for_bit(mesh, strategy, record_property):
    config = small.RUN._replace(learning_rates=(1e-2, 3e-2), strategy=strategy, stop_when_solved=False)
    prepared = prepare(config, mesh)
    sound, at = chunks(prepared, lambda leaf: leaf)
    assert at == NEVER
    for what, spoil in SPOILS.items():
        found, at = chunks(prepared, spoil)
        assert at == 1 or what == "numbers that overflow", what
        assert found[BAD] != sound[BAD], what
        assert {run: value for run, value in found.items() if run != BAD} == {
            run: value for run, value in sound.items() if run != BAD
        }, what
    record_property("divergences beside sound runs", len(SPOILS))

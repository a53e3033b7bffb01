"""Batches of examples of like length, cut to it: what is padded, and that nothing is lost."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract import close, equal
from test_text import normal, sentences

from seqjax.cells.rnn import rnn
from seqjax.data.streamed import pick
from seqjax.data.tagging import tagging
from seqjax.data.text import cuts
from seqjax.models import sequence_model
from seqjax.training.stream import cut, first_steps, on_batch, train_batch


@pytest.mark.parametrize("most", [1, 2, 3, 4, 9])
def test_cuts_leave_the_least_padding(most):
    """Against every choice of so many lengths."""
    steps = np.random.default_rng(most).integers(1, 9, 40)
    cost = lambda found: sum(min(c for c in found if c >= n) for n in steps)  # noqa: E731
    found = cuts(steps, most, padding=0)
    lengths = sorted(set(steps.tolist()))
    least = min(
        cost((*some, lengths[-1]))
        for k in range(min(most, len(lengths)))
        for some in itertools.combinations(lengths, k)
    )
    assert cost(found) == least and len(found) <= most and found[-1] == max(steps) and list(found) == sorted(found)
    few, bound = cuts(steps, padding=0.3), sum(steps) / 0.7
    assert cost(few) <= bound < cost(cuts(steps, len(few) - 1, padding=0))


def test_batches_of_like_length_and_their_cuts(tmp_path):
    """An epoch takes every example at most once, batches are of like length, and no token is cut off."""
    rows = [(" ".join(["a"] * n), " ".join(["X"] * n)) for n in (1, 2, 3, 5, 8, 8, 2, 3, 1, 5, 7)]
    task = tagging(sentences(tmp_path / "d", train=rows))._replace(input_size=2)
    examples, key = task.examples, jax.random.key(0)
    examples = examples._replace(cuts=(2, 5, 8))
    task = task._replace(examples=examples)

    def seen(batch):
        return jnp.sum(batch.mask, 0), jnp.asarray(batch.inputs.shape[0])

    take = jax.jit(lambda numbers: jax.lax.map(lambda n: on_batch(seen, task, examples.train, key, n, 2), numbers))
    every = list(zip(*jax.device_get(take(np.arange(15)))))
    for epoch in range(3):
        taken = every[5 * epoch :][:5]
        for lengths, steps in taken:
            assert steps == min(c for c in (2, 5, 8) if c >= lengths.max())
            assert abs(lengths[0] - lengths[1]) <= 2
        counted = np.bincount(np.concatenate([lengths for lengths, _ in taken]).astype(int), minlength=9)
        assert counted.sum() == 10 and (counted <= np.bincount([len(r[0].split()) for r in rows], minlength=9)).all()
    orders = [tuple(int(lengths.max()) for lengths, _ in every[5 * epoch :][:5]) for epoch in range(3)]
    assert len(set(orders)) > 1
    probed = jax.eval_shape(lambda: train_batch(task, examples.train, key, jnp.int32(0), 2))
    assert probed.inputs.shape[0] == 8  # a probe sees whole ones


def test_what_is_cut_off_changes_no_answer_and_no_gradient(tmp_path):
    """Loss and gradient of a batch cut to its length are those of the whole one."""
    task = tagging(sentences(tmp_path / "d"), characters=4)
    model = sequence_model(
        rnn(3), task.input_size, task.output_size, tokens=True, embedding=2, characters=task.characters,
        character_width=3, bidirectional=True, strategy="scan",
    )  # fmt: skip
    leaves, form = jax.tree.flatten(jax.eval_shape(model.init, jax.random.key(0)))
    params = jax.tree.unflatten(form, [np.float32(0.4 * normal(n, leaf.shape)) for n, leaf in enumerate(leaves)])
    picked = jax.device_get(jax.jit(pick)(task.examples.train, np.array([1, 2, 4])))
    examples = task.examples._replace(cuts=(3, 6))

    def measured(params, batch):
        loss = lambda params: task.loss(model.apply(params, batch.inputs, batch.lengths)[0], batch)  # noqa: E731
        return jax.value_and_grad(loss)(params)

    @jax.jit
    def both(params):
        batch = task.examples.batch(picked)
        return cut(lambda batch: measured(params, batch), examples, picked), measured(params, batch), batch

    one, other, batch = jax.device_get(both(params))
    close(one, other, 2e-6)
    equal(first_steps(batch, 3).inputs, batch.inputs[:3])
    assert first_steps(batch._replace(mask=np.ones(3), targets=np.zeros(3)), 2).mask.shape == (3,)


DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.skipif(not (DATA / "ud_english_ewt").exists(), reason="the data set is not here")
def test_padding_of_real_sentences_is_under_15_percent():
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from seqjax.training.stream import _alike

    table = pq.read_table(DATA / "ud_english_ewt" / "train.parquet", columns=["tokens"])
    steps = pc.list_value_length(table["tokens"]).to_numpy()
    at, take = np.array(cuts(steps)), jax.jit(_alike, static_argnums=3)
    batches = [steps[np.asarray(take(steps, jax.random.key(0), n, 32))] for n in range(0, 392, 3)]
    read = sum(32 * at[np.searchsorted(at, lengths.max())] for lengths in batches)
    assert 1 - sum(lengths.sum() for lengths in batches) / read < 0.15

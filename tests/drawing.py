"""The forms of the synthetic tasks that the tests look at, each compiled once, and batches of them."""

import functools

import jax
import numpy as np

from seqjax import Task, spec, tasks
from seqjax.tasks.grammar import next_symbol_loss

FOUND = spec.names([tasks])
SIZE = 2000
# Where a task's default is long or has many symbols, a smaller form stands for it.
SMALLER = {
    "noise_free_lag": "noise_free_lag(length=6)",
    "warp": "warp(length=12, warping=3)",
    "selective_copy": "selective_copy(length=9, symbols=3, tokens=4)",
    "denoising": "denoising(length=9, symbols=3, tokens=4)",
    "embedded_reber": "embedded_reber(longest=30)",
    "continual_reber": "continual_reber(length=30)",
    "associative_recall": "associative_recall(pairs=3, keys=4, values=3)",
    "multiplication": "multiplication(length=22)",
    "two_sequence": "two_sequence(length=20)",
    "hidden_markov": "hidden_markov(length=12, states=5, symbols=3)",
}
VARIABLE = "copy_memory(length=6, symbols=3, tokens=2, variant='variable')"
UNIFORM, PADDED = "warp(length=12, warping=3, variant='uniform')", "warp(length=12, warping=3, padding=True)"
FORMS = [
    *(SMALLER.get(name, name) for name in FOUND),
    *["adding(length=2)", "adding(length=4, variant='tcn')", "adding(length=22, variant='hs97')"],
    *["adding(length=50, variant='hs97')", "copy_memory(length=1, symbols=2, tokens=1)", "copy_memory(length=20)"],
    *["temporal_order(relevant=3)", "temporal_order(length=20, relevant=3)"],
    *["parity(length=1)", "parity(length=9, min_length=3)", VARIABLE, UNIFORM, PADDED],
    *["noise_free_lag(length=6, variant='2b')", "noise_free_lag(length=5, variant='2c', distractors=3)"],
    "noise_free_lag(length=6, variant='2b', asked='last')",
    *["two_sequence(length=20, variant='3b', informative=1)", "two_sequence(length=20, variant='3c')"],
    *["warp(length=12, warping=3, variant='uniform', padding=True)", "embedded_reber(longest=9)"],
]
NOISY = "two_sequence(length=20, variant='3c')"  # what is to be learned is not its targets
# In these the symbol just read tells something of the next, and the best guess without memory has read it.
SIGMOIDS = [
    *(f"{name[:-1]}, outputs='sigmoid')" for name in (SMALLER["embedded_reber"], SMALLER["continual_reber"])),
    *(f"noise_free_lag(length=5, variant={variant!r}, outputs='sigmoid')" for variant in ("2a", "2b", "2c")),
    "noise_free_lag(length=5, variant='2b', outputs='sigmoid', asked='last')",
    "temporal_order(length=20, outputs='sigmoid')",
]
READS = [form for form in [*FORMS, *SIGMOIDS] if form.startswith(("warp", "embedded", "continual", "hidden"))]


@functools.cache
def built(form):
    """A task whose functions are compiled once for all tests, loss and score as one program."""
    task = spec.build(form, [tasks], Task)
    measure = jax.jit(lambda outputs, batch: (task.loss(outputs, batch), task.score(outputs, batch)))
    loss = functools.wraps(task.loss)(lambda outputs, batch: measure(outputs, batch)[0])
    score = lambda outputs, batch: measure(outputs, batch)[1]  # noqa: E731
    return task._replace(sample=jax.jit(task.sample, static_argnums=1), loss=loss, score=score)


def draw(form, seed=0):
    """A task and a batch of it, as NumPy arrays."""
    task = built(form)
    return task, jax.tree.map(np.asarray, task.sample(jax.random.key(seed), SIZE))


def perfect(task, batch):
    """What a network says that knows the answers, and of a grammar's also what else would be legal."""
    if task.loss.__wrapped__ is next_symbol_loss:
        return 50 * batch.targets
    if np.issubdtype(batch.targets.dtype, np.integer):
        return 50 * np.eye(task.output_size, dtype=np.float32)[batch.targets]
    return batch.targets

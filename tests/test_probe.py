"""What training records of a model: against the quantities one by one, and through the scripts' report."""

import jax
import numpy as np
import pytest

from seqjax import UserError, cells, spec, tasks
from seqjax.gradients import gradient_norms
from seqjax.gradients.adjoints import record
from seqjax.gradients.gates import gates
from seqjax.gradients.lyapunov import WARMUP, lyapunov
from seqjax.gradients.probe import probe
from seqjax.models import sequence_model
from seqjax.training import Config
from seqjax.training.penalty import make_penalty
from seqjax.training.program import make_program
from seqjax.types import Cell, Task


def begin(form="gru(hidden=3)", **options):
    cell = spec.build(form, [cells], Cell)
    task = spec.build("temporal_order(length=20)", [tasks], Task)
    model = sequence_model(cell, task.input_size, task.output_size, readout="last", tokens=True, **options)
    made = jax.jit(lambda: (model.init(jax.random.key(0)), task.sample(jax.random.key(1), 3)))()
    return task, model, *jax.device_get(made)


def test_each_part_is_what_its_own_function_gives(float64):
    task, model, params, batch = begin(bidirectional=True)

    def both(params):
        layers = model.layers(params)
        xs, tape = record(layers, model.encode(params, batch.inputs), batch.lengths)[0][0]
        one_by_one = [
            (gates(way, xs, batch.lengths), lyapunov(way, carries, xs, batch.lengths, warmup=WARMUP).maximal)
            for way, carries in zip(layers[0], tape)
        ]
        return probe(model, params, batch, task.loss), one_by_one, gradient_norms(model, params, batch, task.loss)

    found, one_by_one, norms = jax.jit(both)(params)
    jax.tree.map(np.testing.assert_array_equal, found.norms, norms)
    assert set(found.gates) == {f"layer_0/{w}/{g}_gate" for w in ("forward", "backward") for g in ("reset", "update")}
    for way, (opened, exponent), params_way in zip(("forward", "backward"), one_by_one, params["layer_0"]):
        for name, gate in opened.items():
            wanted = [gate.mean, gate.below, gate.above]
            np.testing.assert_allclose(found.gates[f"layer_0/{way}/{name}"], wanted, rtol=1e-12)
        blocks = np.split(np.asarray(params_way.w_h), 3, -1)
        radii = [np.abs(np.linalg.eigvals(block)).max() for block in blocks]
        np.testing.assert_allclose(found.spectral_radius[f"layer_0/{way}/w_h"], radii, rtol=1e-5)
        # The leading exponent of three begins at another random vector; one vector of its own turns to the same.
        assert abs(found.exponent[f"layer_0/{way}"] - exponent) < 0.2
        assert found.exponent[f"layer_0/{way}"] < 0


def test_blocks_that_are_not_square_have_no_radius():
    """Two gates of two columns each and a candidate of four make up for two squares, and are none."""
    task, model, params, batch = begin("lstm(hidden=4, forget_gate=False, block_size=2)")
    found = jax.eval_shape(lambda params: probe(model, params, batch, task.loss), params)
    assert params["layer_0"][0].w_h.shape == (4, 8) and not found.spectral_radius and found.gates


def test_a_single_vector_is_the_first_of_a_decomposition(float64):
    """Of a linear cell with one direction far ahead, the exponent is the logarithm of its factor."""
    step = lambda w, h, x: (h * w, h)  # noqa: E731
    cell = Cell(lambda key, size: np.array([0.9, 1e-9]), lambda w, shape: np.zeros((*shape, 2)), step)
    from seqjax.types import Direction

    way = Direction(cell, np.array([0.9, 1e-9]), False)
    run = jax.jit(lambda params: lyapunov(way._replace(params=params), *zeros, k=1, warmup=5).maximal)
    zeros = np.zeros((50, 2, 2)), np.zeros((50, 2, 1))
    np.testing.assert_allclose(run(way.params), np.log(0.9), rtol=1e-12)
    assert run(np.zeros(2)) == -np.inf


@pytest.mark.parametrize("text", ["vanishing(weight=0.5)", "flossing(weight=0.5, k=2)"])
def test_a_penalty_is_part_of_what_training_descends(text, float64):
    """One step of gradient descent moves the cell's parameters by the gradient of loss plus penalty."""
    config = Config(
        "rnn(hidden=3)", "adding(length=5)", optimizer="sgd", learning_rates=(1.0,), clip_norm=None, batch_size=4,
        penalty=text,
    )  # fmt: skip
    task = spec.build(config.task, [tasks], Task)
    model = sequence_model(spec.build(config.cell, [cells], Cell), 2, 1, readout=task.readout)
    moved = {}
    for name, each in (("with", config), ("without", config._replace(penalty=None))):
        program = make_program(each, task, task, model)
        before = jax.jit(program.init)(0, 1.0, True)
        moved[name] = jax.jit(lambda run, program=program: program.train(run, 1, program.data))(before).params

    @jax.jit
    def slope(run):
        batch = task.sample(jax.random.fold_in(run.stream("train"), 0), 4)
        return jax.grad(lambda params: make_penalty(text)(model, params, batch, task.loss))(run.params)

    extra = slope(before)
    difference = jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), moved["with"], moved["without"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-6, 1e-9), difference, extra)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(extra)) > 1e-3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vanish", "--penalty='vanish': no penalty 'vanish'; did you mean 'vanishing'?"),
        ("vanishing(weight=-1.0)", "weight=-1.0; expected at least 0"),
        ("flossing(k=0)", "k=0; expected at least 1"),
        ("flossing(weigth=1.0)", "weigth"),
    ],
)
def test_a_wrong_penalty_is_refused(text, says):
    with pytest.raises(UserError) as caught:
        make_penalty(text)
    assert says in str(caught.value)

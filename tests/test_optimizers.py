"""From specs to optax: optimizers with their clips, schedules, parameters that move late, and what is refused."""

import re

import jax
import numpy as np
import pytest
from small_runs import SMALL

from seqjax.training import prepare
from seqjax.training.config import check
from seqjax.training.optimizer import make_optimizer, make_schedule, optimizers
from seqjax.types import UserError


@pytest.mark.parametrize(
    ("clip_norm", "clip_value", "wanted"),
    [
        (None, None, [3, 4]),
        (1.0, None, [0.6, 0.8]),
        (None, 3.5, [3, 3.5]),
        (1.0, 3.0, [0.5**0.5, 0.5**0.5]),  # by value first, to [3, 3]
    ],
)
def test_optimizers_by_spec(clip_norm, clip_value, wanted):
    params, grads = np.zeros(2, np.float32), np.array([3.0, 4.0], np.float32)
    optimizer = make_optimizer("sgd", clip_norm, clip_value)(0.1)
    found, _ = jax.jit(optimizer.update)(grads, optimizer.init(params))
    np.testing.assert_allclose(found, -0.1 * np.array(wanted), rtol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("cosine_decay_schedule(decay_steps=2)", [1.0, 0.5, 0.0]),
        ("exponential_decay(transition_steps=2, decay_rate=0.25)", [1.0, 0.5, 0.25]),
        ("warmup_cosine_decay_schedule(peak_value=1.0, warmup_steps=2, decay_steps=4)", [0.0, 0.5, 1.0]),
    ],
)
def test_a_schedule_scales_the_rate_step_by_step(schedule, factors):
    np.testing.assert_allclose([make_schedule("--schedule", schedule)(step) for step in range(3)], factors, atol=1e-6)


def test_a_schedule_begins_at_the_rate_or_warms_up_to_it():
    """Its init_value, if not given: 1, or 0 where there is a peak_value."""
    schedules = {
        "linear_schedule(end_value=0.0, transition_steps=4)": [1, 0.5, 0],
        "warmup_constant_schedule(peak_value=1.0, warmup_steps=4)": [0, 0.5, 1],
        "warmup_constant_schedule(init_value=0.5, peak_value=1.0, warmup_steps=4)": [0.5, 0.75, 1],
    }
    for text, wanted in schedules.items():
        factor = make_schedule("--schedule", text)
        np.testing.assert_allclose([factor(step) for step in (0, 2, 4)], wanted)


def test_held_parameters_move_late_or_never():
    """To the bit as the optimizer inside would move them, once they do."""
    params = {"a": {"w": np.ones(2, np.float32), "b": np.ones(1, np.float32)}, "ab": np.ones(1, np.float32)}
    make = make_optimizer("held(optimizer='adam', late=('a',), steps=2, fixed=('a/b',))", None, None)

    def moved(optimizer):
        state, found = optimizer.init(params), []
        for _ in range(4):
            updates, state = jax.jit(optimizer.update)(params, state)
            found.append(jax.tree.map(np.asarray, updates))
        return found

    held, free = (moved(each(0.1)) for each in (make, make_optimizer("adam", None, None)))
    for step, (ours, theirs) in enumerate(zip(held, free)):
        assert not ours["a"]["b"].any()
        np.testing.assert_array_equal(ours["ab"], theirs["ab"])
        np.testing.assert_array_equal(ours["a"]["w"], theirs["a"]["w"] if step >= 2 else 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("late=('layer_9',)", "no parameters 'layer_9'; expected one of around/head/"),
        ("fixed=('layer_0/0/w',)", "no parameters 'layer_0/0/w'"),
        ("steps=0", "steps=0; expected at least 1"),
        ("optimizer='adm'", "did you mean 'adam'"),
        ("late='layer_0'", "late='layer_0'"),
    ],
)
def test_bad_arguments_of_held(arguments, says):
    with pytest.raises(UserError, match="--optimizer.*" + re.escape(says)):
        prepare(SMALL._replace(optimizer=f"held({arguments})"))


@pytest.mark.filterwarnings("ignore:.*deprecated")  # by optax, which still has them
@pytest.mark.parametrize("name", sorted({*optimizers()} - {"held", "lbfgs", "polyak_sgd"}))
def test_every_optimizer_goes_down(name):
    """On a line, which has the same slope everywhere: sign, scale and schedule of a method do not matter."""
    optimizer = make_optimizer(name, None, None)(0.1)
    params = {"w": np.ones((2, 2), np.float32), "b": np.ones(2, np.float32)}
    state, begun = optimizer.init(params), params
    for _ in range(5):
        updates, state = jax.jit(optimizer.update)(jax.tree.map(np.ones_like, params), state, params)
        params = jax.tree.map(np.add, params, updates)
    assert all(np.all(np.asarray(new) < old) for new, old in zip(*map(jax.tree.leaves, (params, begun))))


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("warmup_constant_schedule(peak_value=1, warmup_steps=0)", "is 0 at steps 0, 1, 2"),
        ("constant_schedule(value=0.0)", "nothing would be learned"),
        ("exponential_decay(transition_steps=5, decay_rate=0.0)", "decay_rate=0.0; expected more than 0"),
        ("exponential_decay(transition_steps=5, decay_rate=-1.0)", "decay_rate=-1.0; expected more than 0"),
        ("exponential_decay(transition_steps=0, decay_rate=0.5)", "transition_steps=0; expected at least 1"),
        ("sgdr_schedule(cosine_kwargs=())", "--schedule='sgdr_schedule"),
        ("constant_schedule(value=-1.0)", "is -1 at step 0; expected a factor of 0 or more"),
        ("linear_schedule(end_value=-1.0, transition_steps=4)", "is -1 at step 10; expected"),
    ],
)
def test_schedules_by_which_nothing_is_learned(schedule, words):
    with pytest.raises(UserError, match=re.escape(words)):
        make_schedule("--schedule", schedule)


def test_never_the_true_symbol_is_a_schedule_of_teacher_forcing():
    assert make_schedule("--teacher_forcing", "constant_schedule(value=0.0)")(3) == 0
    with pytest.raises(UserError, match=re.escape("is 2 at step 0; expected a chance in [0, 1]")):
        make_schedule("--teacher_forcing", "constant_schedule(value=2.0)")


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ((1e-50,), "has 1e-50; expected positive numbers that 32 bits hold"),
        ((1e39,), "has 1e+39; expected positive numbers that 32 bits hold"),
        ((1e-3, 1.00000001e-3), "each once"),
    ],
)
def test_rates_that_32_bits_do_not_tell_apart(rates, words):
    with pytest.raises(UserError, match=re.escape(words)):
        check(SMALL._replace(learning_rates=rates))

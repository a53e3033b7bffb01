"""From specs to optax: an optimizer with its clipping, and the schedule of the learning rate."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from seqjax.spec import Spec, check, did_you_mean, parse, prefixed
from seqjax.training.clipping import clip_by_norm
from seqjax.types import Array, PyTree, UserError

TRIED_AT = (0, 1, 2, 10, 100, 1000, 10_000, 100_000)  # steps
AVERAGES = ("b1", "b2", "b3", "decay", "rho")  # what a running average keeps of itself at a step


def make_optimizer(
    optimizer: str, clip_norm: float | None, clip_value: float | None
) -> Callable[[Array], optax.GradientTransformation]:
    """learning rate -> GradientTransformation; the rate may be a traced value, one for each run.

    Args:
        optimizer: spec of an optax optimizer without its rate: 'adam', 'sgd(momentum=0.9)'; or `held`.
        clip_norm: gradients are scaled down to this global L2 norm. See `clip_by_norm`.
        clip_value: gradients are cut elementwise to ±clip_value, before clip_norm.

    Raises:
        UserError: no such optimizer, with the nearest name, a wrong argument, or an optimizer
            that asks for more than gradients.
    """
    spec = _parsed("--optimizer", optimizer)
    make = _known("--optimizer", spec, optimizers(), given=["learning_rate"])
    _try_optimizer("--optimizer", spec, make)
    clips = [] if clip_value is None else [optax.clip(clip_value)]
    clips += [] if clip_norm is None else [clip_by_norm(clip_norm)]

    def at_rate(rate: Array) -> optax.GradientTransformation:
        return optax.chain(*clips, make(learning_rate=rate, **spec.arguments))

    return at_rate


def make_schedule(flag: str, text: str | None) -> Callable[[Array], Array] | None:
    """step -> factor, of the spec of an optax schedule: 'cosine_decay_schedule(decay_steps=5000)'; None for None.

    Its init_value is 1 unless given, or 0 where it warms up to a peak_value. Raises UserError for what gives
    no number, a negative one, a chance of more than 1, or, of the learning rate, 0 at all steps.
    """
    if text is None:
        return None
    shape = _parsed(flag, text)
    takes = inspect.signature(schedules().get(shape.name, optimizers)).parameters
    if "init_value" in takes and "init_value" not in shape.arguments:
        shape = Spec(shape.name, {"init_value": 0.0 if "peak_value" in takes else 1.0, **shape.arguments})
    make = _known(flag, shape, schedules())
    for name, least in (("transition_steps", 1), ("decay_rate", sys.float_info.min)):
        if (value := shape.arguments.get(name, 1)) < least:  # of which optax makes a constant, or NaN
            raise UserError(
                f"{flag}={text!r}: {name}={value}; expected {'at least 1' if least == 1 else 'more than 0'}"
            )
    schedule = _tried(flag, shape, lambda: make(**shape.arguments))
    factors = _tried(flag, shape, lambda: [float(schedule(step)) for step in TRIED_AT])
    most = 1.0 if flag == "--teacher_forcing" else sys.float_info.max
    for step, factor in zip(TRIED_AT, factors):
        if not 0 <= factor <= most:
            expected = "a chance in [0, 1]" if most == 1 else "a factor of 0 or more"
            raise UserError(f"{flag}={text!r} is {factor:g} at step {step}; expected {expected}")
    if flag == "--schedule" and not any(factors):
        raise UserError(f"{flag}={text!r} is 0 at steps {', '.join(map(str, TRIED_AT))}: nothing would be learned")
    return schedule


def held(
    learning_rate: optax.ScalarOrSchedule,
    optimizer: str = "sgd",
    late: tuple[str, ...] = (),
    steps: int = 1000,
    fixed: tuple[str, ...] = (),
) -> optax.GradientTransformation:
    """An optimizer by which some parameters do not move before so many steps, and others never.

    A part that joins late is not abused for what the others can learn without it. (Hochreiter & Schmidhuber
    1997, section 4, where cells are added once the error no longer falls. Here they are there, as they begin,
    and what reads them learns from the first step.)

    Args:
        learning_rate: of the optimizer.
        optimizer: spec of the optax optimizer that moves them.
        late: names of parameters that move later: 'layer_0' for all of a layer, 'layer_0/0/w_x' for one.
        steps: for so many updates these keep their values.
        fixed: names of parameters that keep them for ever.

    Raises:
        UserError: steps below 1, no such optimizer, one that asks for more than gradients, or a name that the network
            does not have.
    """
    flag = "--optimizer='held'"
    if steps < 1:
        raise UserError(f"{flag}: steps={steps}; expected at least 1")
    spec = _parsed(f"{flag}: optimizer", optimizer)
    make = _known(f"{flag}: optimizer", spec, optimizers(), given=["learning_rate"])
    _try_optimizer(f"{flag}: optimizer", spec, make)
    inner = make(learning_rate, **spec.arguments)

    def init(params: PyTree) -> tuple[PyTree, Array]:
        names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for part in (*late, *fixed):
            if not any(_within(name, [part]) for name in names):
                raise UserError(f"{flag}: no parameters {part!r}; expected one of {', '.join(names)}, or its beginning")
        return inner.init(params), jnp.zeros((), jnp.int32)

    def update(grads: PyTree, state: tuple[PyTree, Array], params: PyTree = None) -> tuple[PyTree, tuple]:
        updates, after = inner.update(grads, state[0], params)

        def allowed(path: tuple, update: Array) -> Array:
            still = _within(_name(path), fixed) | (_within(_name(path), late) & (state[1] < steps))
            return jnp.where(still, 0, update)

        return jax.tree_util.tree_map_with_path(allowed, updates), (after, state[1] + 1)

    return optax.GradientTransformation(init, update)


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _within(name: str, parts: Iterable[str]) -> bool:
    return any(name == part or name.startswith(f"{part}/") for part in parts)


def optimizers() -> dict[str, Callable]:
    """What optax has that takes a learning rate and draws no random numbers, by name, and `held`."""
    return {"held": held} | {
        name: found
        for name, found in inspect.getmembers(optax, inspect.isfunction)
        if {"learning_rate", "key"} & {*inspect.signature(found).parameters} == {"learning_rate"}
        and not name.startswith(("_", "scale_by_"))  # these do not turn the gradient round: they would climb
    }


def schedules() -> dict[str, Callable]:
    """What optax calls a schedule, by name, and its exponential decay."""
    known = inspect.getmembers(optax, inspect.isfunction)
    return {name: found for name, found in known if name.endswith("_schedule") or name == "exponential_decay"}


def _moved(optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
    """What an optimizer makes of parameters, which stand for their gradients too."""
    return optimizer.update(params, optimizer.init(params), params)


def _try_optimizer(flag: str, spec: Spec, make: Callable[..., optax.GradientTransformation]) -> None:
    """Raise UserError where optax refuses the spec's values, or the optimizer asks for more than gradients."""
    if spec.name != "held":  # which asks for the network's own names
        toy = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
        _tried(flag, spec, lambda: jax.eval_shape(partial(_moved, make(0.1, **spec.arguments)), toy))
    for name in AVERAGES:
        if not 0 <= spec.arguments.get(name, 0) <= 1:
            raise UserError(f"{flag}={str(spec)!r}: {name}={spec.arguments[name]}; expected 0 to 1")
    for name, value in spec.arguments.items():  # optax takes integers too, to which small numbers are 0
        if "dtype" in name and value is not None and not jnp.issubdtype(jnp.dtype(value), jnp.floating):
            raise UserError(f"{flag}={str(spec)!r}: {name}={value!r}; expected one of floating point, as 'bfloat16'")


def _tried(flag: str, spec: Spec, make: Callable[[], Any]) -> Any:
    """What is made, or a UserError where optax refuses the spec's values."""
    try:
        return make()
    except (TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
        raise UserError(f"{flag}={str(spec)!r}: {str(error).splitlines()[0]}") from error


def _parsed(flag: str, text: str) -> Spec:
    with prefixed(flag):
        return parse(text)


def _known(flag: str, spec: Spec, known: dict[str, Callable], given: list[str] | None = None) -> Callable:
    if spec.name not in known:
        listed = ", ".join(known)
        raise UserError(f"{flag}='{spec.name}': not in optax{did_you_mean(spec.name, list(known))}known: {listed}")
    with prefixed(f"{flag}={str(spec)!r}"):
        check(spec, known[spec.name], given or [])
    return known[spec.name]

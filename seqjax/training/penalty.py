"""Loss terms that keep the gradient alive while a model trains, by spec."""

from __future__ import annotations

from collections.abc import Callable

import jax

from seqjax.gradients.adjoints import model_adjoints, record
from seqjax.gradients.regularizers import gradient_flossing, vanishing_penalty
from seqjax.spec import check, did_you_mean, parse, prefixed
from seqjax.types import Array, Batch, Model, PyTree, UserError

Penalty = Callable[[Model, PyTree, Batch, Callable[[Array, Batch], Array]], Array]


def vanishing(weight: float = 1.0) -> Penalty:
    """weight · Σ Ω over layers and directions, Ω as `vanishing_penalty`; no gradient passes between layers."""

    def penalty(model: Model, params: PyTree, batch: Batch, loss: Callable[[Array, Batch], Array]) -> Array:
        layers, still = model.layers(params), jax.lax.stop_gradient(params)
        tapes, _ = record(model.layers(still), model.encode(still, batch.inputs), batch.lengths)
        deltas = model_adjoints(model, still, batch, loss)
        return weight * sum(
            vanishing_penalty(way, carries, xs, delta, batch.lengths)
            for layer, (xs, tape), ways in zip(layers, tapes, deltas)
            for way, carries, delta in zip(layer, tape, ways)
        )

    return penalty


def flossing(weight: float = 1.0, k: int = 1) -> Penalty:
    """weight · Σ over layers and directions of the squares of k Lyapunov exponents, as `gradient_flossing`."""

    def penalty(model: Model, params: PyTree, batch: Batch, _: Callable[[Array, Batch], Array]) -> Array:
        layers = model.layers(params)
        tapes, _ys = record(layers, model.encode(params, batch.inputs), batch.lengths)
        return weight * sum(
            gradient_flossing(way, carries, xs, k, jax.random.key(0), batch.lengths)
            for layer, (xs, tape) in zip(layers, tapes)
            for way, carries in zip(layer, tape)
        )

    return penalty


PENALTIES = {"vanishing": vanishing, "flossing": flossing}


def make_penalty(text: str | None) -> Penalty | None:
    """The penalty that a spec names, as 'vanishing(weight=0.1)'; None for None.

    Raises:
        UserError: no such penalty, with the nearest name, a wrong argument, or a weight below 0.
    """
    if text is None:
        return None
    with prefixed(f"--penalty={text!r}"):
        spec = parse(text)
        if spec.name not in PENALTIES:
            hint = did_you_mean(spec.name, list(PENALTIES))
            raise UserError(f"no penalty {spec.name!r}{hint}penalties: {', '.join(PENALTIES)}")
        check(spec, PENALTIES[spec.name])
        for name, least in (("weight", 0), ("k", 1)):
            if spec.arguments.get(name, least) < least:
                raise UserError(f"{name}={spec.arguments[name]}; expected at least {least}")
    return PENALTIES[spec.name](**spec.arguments)

"""How a cell's weights begin, by name; biases for long memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from seqjax.types import Array, UserError

Recurrent = Literal["orthogonal", "identity", "normal", "uniform"]
Input = Literal["glorot", "lecun", "normal", "uniform"]
Bias = float | tuple[float, ...]


def recurrent(key: Array, hidden: int, gates: int, kind: Recurrent, scale: float) -> Array:
    """Recurrent weights [H, gates·H], one square block a gate.

    'orthogonal': scale · Q, all singular values equal to scale. (Saxe et al. 2014)
    'identity':   scale · I. (Le, Jaitly & Hinton 2015)
    'normal':     scale · N(0, 1/H), spectral radius about scale. (Sompolinsky et al. 1988)
    'uniform':    U[-scale, scale]. (Hochreiter & Schmidhuber 1997, scale .2)
    """
    shape = (hidden, hidden)
    make = {
        "orthogonal": lambda k: scale * jax.nn.initializers.orthogonal()(k, shape),
        "identity": lambda k: scale * jnp.eye(hidden),
        "normal": lambda k: scale * jax.random.normal(k, shape) / hidden**0.5,
        "uniform": lambda k: jax.random.uniform(k, shape, minval=-scale, maxval=scale),
    }[kind]
    return _side_by_side(make, key, gates)


def inputs(key: Array, input_size: int, hidden: int, gates: int, kind: Input, scale: float) -> Array:
    """Input weights [D, gates·H], one block a gate, each with the variance of its own width H.

    'glorot':  scale · U[±sqrt(6/(D+H))]. (Glorot & Bengio 2010, eq. 16)
    'lecun':   scale · N(0, 1/D), cut at two deviations, the default of Flax. (LeCun et al. 1998)
    'normal':  N(0, scale²). (Le, Jaitly & Hinton 2015, scale .001)
    'uniform': U[-scale, scale].
    """
    shape = (input_size, hidden)
    make = {
        "glorot": lambda k: scale * jax.nn.initializers.glorot_uniform()(k, shape),
        "lecun": lambda k: scale * jax.nn.initializers.lecun_normal()(k, shape),
        "normal": lambda k: scale * jax.random.normal(k, shape),
        "uniform": lambda k: jax.random.uniform(k, shape, minval=-scale, maxval=scale),
    }[kind]
    return _side_by_side(make, key, gates)


def _side_by_side(make: Callable[[Array], Array], key: Array, gates: int) -> Array:
    """One block [n, H] a gate, each from a key of its own: [n, gates·H]."""
    return jnp.concatenate([make(k) for k in jax.random.split(key, gates)], axis=-1)


def chrono(key: Array, hidden: int, max_lag: float) -> Array:
    """Forget-gate biases [H] for memories of up to max_lag steps: b_f = log U[1, max_lag - 1].

    A unit whose forget gate has the bias b_f forgets with the time constant 1 + exp(b_f); the input
    gate's bias is -b_f. (Tallec & Ollivier 2018, eq. 16)
    """
    return jnp.log(jax.random.uniform(key, (hidden,), minval=1.0, maxval=max_lag - 1.0))


LONGEST_LAG = 1e9


def require_lag(max_lag: float | None, **biases: tuple[Bias, float]) -> None:
    """Check what cells take for chrono initialization.

    Args:
        max_lag: as cells take it; None where it is not asked for.
        **biases: those in whose place it stands, each the value and its default.

    Raises:
        UserError: a max_lag that is not above 2, or above LONGEST_LAG, or a bias given beside it.
    """
    if max_lag is None:
        return
    if not 2 < max_lag <= LONGEST_LAG:
        raise UserError(f"max_lag={max_lag}; expected more than 2 steps, up to {LONGEST_LAG:g}")
    for name, (value, default) in biases.items():
        if value != default:
            raise UserError(f"{name}={value} beside max_lag={max_lag}, which stands in its place; give one of them")


def bias(hidden: int, value: Bias) -> Array:
    """Biases [H]: one number for all units, or a tuple with one for each."""
    return jnp.broadcast_to(jnp.asarray(value, jnp.result_type(float)), (hidden,))


def require_biases(hidden: int, **biases: Bias) -> None:
    """Raises UserError where a tuple of biases does not hold one for each unit."""
    for name, value in biases.items():
        if isinstance(value, tuple) and len(value) != hidden:
            raise UserError(f"{name} holds {len(value)} numbers; expected one number, or {hidden} of them")


def require_width(hidden: int) -> None:
    """Raises UserError where a cell has not one unit."""
    if hidden < 1:
        raise UserError(f"hidden={hidden}; expected at least 1")

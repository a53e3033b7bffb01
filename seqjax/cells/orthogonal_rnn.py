"""A network whose recurrent matrix is orthogonal, and stays so whatever the optimizer does."""

from __future__ import annotations

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.cells import initializers
from seqjax.cells.preparation import PreparedStep
from seqjax.types import Array, Cell, UserError

LARGEST = 10_000
Parametrization = Literal["exponential", "cayley"]
Angles = Literal["henaff", "cayley"]


class OrthogonalRNNParams(NamedTuple):
    """What is trained."""

    w_x: Array  # [D, H]
    a: Array  # [H·(H-1)/2] the entries of A above its diagonal, row after row
    b: Array  # [H]


class OrthogonalRNNMatrices(NamedTuple):
    """What the steps use."""

    w_x: Array  # [D, H]
    w_h: Array  # [H, H] orthogonal
    b: Array  # [H]


class OrthogonalRNNCarry(NamedTuple):
    """The hidden state."""

    h: Array  # [..., H]


def prepare(parametrization: Parametrization, params: OrthogonalRNNParams) -> OrthogonalRNNMatrices:
    """W_h of A, which is skew-symmetric: A = -Aᵀ.

        W_h = exp(A)                          reaches every rotation
        W_h = (I - A/2)⁻¹ (I + A/2)           the Cayley transform, near exp(A) where A is small;
                                              reaches every rotation by less than π

    (exponential: Lezcano-Casado & Martínez-Rubio 2019, "Cheap orthogonal constraints in neural networks";
    Cayley: Helfrich, Willmott & Ye 2018, there as (I + A)⁻¹ (I - A) D, where D, which is I here, holds
    signs.) In bfloat16 it is done in float32.
    """
    width = params.b.shape[0]
    above = np.triu_indices(width, 1)
    entries = params.a.astype(jnp.promote_types(params.a.dtype, jnp.float32))
    half = jnp.zeros((width, width), entries.dtype).at[above].set(entries)
    skew = half - half.T
    if parametrization == "exponential":
        w_h = jax.scipy.linalg.expm(skew)
    else:
        w_h = jnp.linalg.solve(jnp.eye(width, dtype=skew.dtype) - skew / 2, jnp.eye(width, dtype=skew.dtype) + skew / 2)
    return OrthogonalRNNMatrices(params.w_x, w_h.astype(params.a.dtype), params.b)


def advance(matrices: OrthogonalRNNMatrices, carry: OrthogonalRNNCarry, x: Array) -> tuple[OrthogonalRNNCarry, Array]:
    """One step; the output is h_t.

        v_t = x_t W_x + h_{t-1} W_h
        h_t = sign(v_t) ⊙ max(0, |v_t| + b)        modReLU; the identity where b = 0

    (modReLU: Arjovsky, Shah & Bengio 2016)
    """
    v = x @ matrices.w_x + carry.h @ matrices.w_h
    h = jnp.sign(v) * jax.nn.relu(jnp.abs(v) + matrices.b)
    return OrthogonalRNNCarry(h), h


def orthogonal_rnn(
    hidden: int = 128,
    parametrization: Parametrization = "exponential",
    angles: Angles = "henaff",
    input_init: initializers.Input = "glorot",
    input_scale: float = 1.0,
) -> Cell:
    """An orthogonal cell, h_t = modReLU(x_t W_x + h_{t-1} W_h), W_h = exp(A); see `prepare` and `advance`.

    W_h depends on the parameters alone, and costs as much as some ten products of [H, H] matrices.
    `unroll` makes it once for all steps (`preparation.prepared`). Where the step is run as it is, as
    inside `scaled` or `clipped`, the compiler takes W_h out of the loop forwards, but its gradient is
    taken back to A at every step: at H = 128, B = 32 and T = 100 on a CPU, some ten times the time of
    the prepared gradient (Cayley: four times).

    Args:
        hidden: number of units H, at least 2.
        parametrization: how W_h is made of A.
        angles: A begins with 2 by 2 blocks of ±s on its diagonal, by which W_h turns pairs of units by
            θ ~ U[-π, π] with 'henaff' (Henaff, Szlam & LeCun 2016), by -u, u ~ U[0, π/2], with 'cayley'
            (Helfrich et al. 2018). Of the Cayley transform s = 2 tan(θ/2). Of the exponential s = θ, but
            -tan(u/2) with 'cayley', as in its authors' code: it then turns by up to 1 alone.
        input_init, input_scale: how W_x begins; see `initializers.inputs`.

    Raises:
        UserError: hidden < 2, or above 10,000.
    """
    if hidden < 2:
        raise UserError(f"hidden={hidden}; expected at least 2, since one unit has nothing to turn")
    if hidden > LARGEST:
        raise UserError(f"hidden={hidden}; expected at most {LARGEST}, since W_h is the exponential of a full matrix")

    def init(key: Array, input_size: int) -> OrthogonalRNNParams:
        key_x, key_a, key_b = jax.random.split(key, 3)
        rows, columns = np.triu_indices(hidden, 1)
        pairs = np.flatnonzero((columns == rows + 1) & (rows % 2 == 0))
        if angles == "henaff":
            angle = jax.random.uniform(key_a, pairs.shape, minval=-math.pi, maxval=math.pi)
        else:
            angle = -jax.random.uniform(key_a, pairs.shape, maxval=math.pi / 2)
        half = jnp.tan(angle / 2)
        exact = {"exponential": angle if angles == "henaff" else half, "cayley": 2 * half}
        return OrthogonalRNNParams(
            w_x=initializers.inputs(key_x, input_size, hidden, 1, input_init, input_scale),
            a=jnp.zeros(rows.shape).at[pairs].set(exact[parametrization]),
            b=jax.random.uniform(key_b, (hidden,), minval=-0.01, maxval=0.01),
        )

    return Cell(init, initial_carry, bound_step(parametrization))


def initial_carry(
    params: OrthogonalRNNParams | OrthogonalRNNMatrices, batch_shape: tuple[int, ...]
) -> OrthogonalRNNCarry:
    """h_0 = 0, [*batch_shape, H]."""
    return OrthogonalRNNCarry(jnp.zeros((*batch_shape, params.b.shape[0]), params.b.dtype))


@functools.cache
def bound_step(parametrization: Parametrization) -> PreparedStep:
    """One object a form, so that equal cells share one compiled program."""
    return PreparedStep(functools.partial(prepare, parametrization), advance)

"""A product of rows and a matrix: as precise as its factors, or with both rounded to bfloat16 and float32 sums."""

from __future__ import annotations

from typing import Literal

import jax

from seqjax.types import Array, UserError

Compute = Literal["bfloat16"]


def product(rows: Array, matrix: Array, precision: jax.lax.DotAlgorithmPreset | None = None) -> Array:
    """rows [..., K] times matrix [K, M], as a product of two matrices.

    One with K = 1 XLA takes for elementwise and computes it again for each use, which makes an LSTM that reads one
    number a step half as fast on a CPU; a second number that is 0 keeps it a product.
    """
    if rows.shape[-1] == 1:
        rows = jax.numpy.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, 1)])
        matrix = jax.numpy.pad(matrix, [(0, 1), (0, 0)])
    flat = jax.numpy.matmul(rows.reshape(-1, rows.shape[-1]), matrix, precision=precision)
    return flat.reshape(*rows.shape[:-1], matrix.shape[-1])


def rounded_product(rows: Array, matrix: Array) -> Array:
    """The same with float32 factors rounded to bfloat16; the products are summed, and given, in float32.

    An accelerator takes it in its units for bfloat16, and so the products of its derivative, whatever
    their order. A CPU, where it is no faster, rounds what goes forwards and not the adjoint that comes back.
    """
    return product(rounded(rows), rounded(matrix), jax.lax.DotAlgorithmPreset.BF16_BF16_F32)


@jax.custom_jvp
def rounded(x: Array) -> Array:
    """x to bfloat16's 8 significant bits, in the dtype it had; the slope counts as 1."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


@rounded.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return rounded(*primals), tangents[0]


def require_float32(compute: Compute | None, dtype: str) -> None:
    """Raises UserError where products are to be rounded and the numbers are not float32."""
    if compute not in (None, "bfloat16"):
        raise UserError(f"compute={compute!r}; expected 'bfloat16' or None")
    if compute and dtype != "float32":
        raise UserError(f"compute={compute!r} rounds products of float32; parameters, inputs and carry are {dtype}")

"""Convolutions by products are those of XLA, in values and gradients."""

import jax
import numpy as np
import pytest

from seqjax.models.convolution import by_product


@pytest.mark.parametrize(
    ("space", "window", "strides", "padding"),
    [
        ((7,), (3,), (1,), "SAME"),
        ((6, 9), (3, 3), (2, 2), "SAME"),
        ((5, 8), (2, 3), (1, 2), "VALID"),
        ((4, 4), (3, 3), (2, 1), [(1, 2), (0, 1)]),
        ((1, 1), (3, 3), (2, 2), "SAME"),
    ],
)
def test_it_is_the_convolution(space, window, strides, padding, float64):
    rng = np.random.default_rng(0)
    inputs, kernel = rng.normal(size=(2, *space, 3)), rng.normal(size=(*window, 3, 4))
    letters = "HW"[: len(space)]
    form = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    @jax.jit
    def both(inputs, kernel):
        one = lambda x, k: by_product(x, k, strides, padding, dimension_numbers=None)  # noqa: E731
        other = lambda x, k: jax.lax.conv_general_dilated(x, k, strides, padding, dimension_numbers=form)  # noqa: E731
        found = []
        for convolve in (one, other):
            values, back = jax.vjp(convolve, inputs, kernel)
            found.append((values, back(jax.numpy.cos(values))))
        return found

    one, other = both(inputs, kernel)
    assert jax.tree.map(np.shape, one) == jax.tree.map(np.shape, other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), one, other)

"""What every test stands on: the CPU, and 64-bit numbers where a test asks for them."""

import jax
import pytest

jax.config.update("jax_platforms", "cpu")


@pytest.fixture
def float64():
    """64-bit numbers for the length of a test, so that tolerances can be those of exact arithmetic."""
    with jax.enable_x64(True):
        yield

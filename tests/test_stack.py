"""Layers one on another, each as wide as what it reads says."""

import jax
import pytest
from contract import noise

from seqjax import Cell, cells, spec
from seqjax.models import sequence_model

T, B, D, OUT = 4, 3, 2, 5


@pytest.mark.parametrize("ways", [1, 2])
def test_layers_of_a_cell_whose_width_is_that_of_its_input(ways):
    """A skip passes what it reads on beside its own output: each layer is wider than the one below."""
    cell = spec.build("skip(cell='lstm(hidden=3)')", [cells], Cell)
    model = sequence_model(cell, D, OUT, layers=3, bidirectional=ways == 2)
    outputs, _ = model.apply(params := model.init(jax.random.key(0)), noise(1, T, B, D))
    widths = [D, ways * (D + 3), ways * (ways * (D + 3) + 3)]
    assert [params[f"layer_{n}"][0].w_x.shape[0] for n in range(3)] == widths
    assert outputs.shape[-1] == OUT and params["around"]["head"]["kernel"].shape[0] == ways * (widths[2] + 3)

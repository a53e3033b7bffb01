"""What an image says, as a vector: two convolutions that halve it, and a linear layer."""

from __future__ import annotations

from flax import linen as nn

from seqjax.models.convolution import by_product
from seqjax.types import Array

FILTERS = (8, 16)
WINDOW = (3, 3)  # pixels


class ImageEncoder(nn.Module):
    """x -> W · vec(ReLU(k_2 * ReLU(k_1 * x))), the convolutions of 3 by 3 pixels with stride 2. (LeCun et al. 1998)

    The images of all steps and sequences go through it side by side; nothing is shared between steps but weights.
    """

    size: tuple[int, int, int]
    width: int

    @nn.compact
    def __call__(self, vectors: Array) -> Array:
        """Images [..., h·w·c], row by row, as vectors [..., width]."""
        images = vectors.reshape(*vectors.shape[:-1], *self.size)
        for filters in FILTERS:
            images = nn.relu(nn.Conv(filters, WINDOW, strides=2, conv_general_dilated=by_product)(images))
        return nn.Dense(self.width)(images.reshape(*vectors.shape[:-1], -1))

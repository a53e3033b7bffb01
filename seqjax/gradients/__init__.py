"""The laboratory: how the gradient travels through a recurrent network."""

from seqjax.gradients.adjoints import adjoints, backward, model_adjoints
from seqjax.gradients.norms import GradientNorms, gradient_norms, log10_norms

__all__ = ["GradientNorms", "adjoints", "backward", "gradient_norms", "log10_norms", "model_adjoints"]

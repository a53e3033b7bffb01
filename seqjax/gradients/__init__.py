"""The laboratory: how the gradient travels through a recurrent network."""

from seqjax.gradients.adjoints import adjoints, model_adjoints
from seqjax.gradients.norms import GradientNorms, gradient_norms

__all__ = ["GradientNorms", "adjoints", "gradient_norms", "model_adjoints"]

"""Recurrent networks in JAX, and how far back they remember: the names a user types."""

from seqjax.types import Array, Batch, Cell, Model, Task, UserError
from seqjax.unroll import unroll, zero_nudge

__version__ = "0.1.0"
__all__ = ["Array", "Batch", "Cell", "Model", "Task", "UserError", "unroll", "zero_nudge"]

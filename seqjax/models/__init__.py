"""What stands around a cell: stacks, two directions, dropout, embeddings and readouts."""

from seqjax.models.sequence import sequence_model

__all__ = ["sequence_model"]

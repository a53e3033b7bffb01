"""What stands around a cell: stacks, two directions, dropout, embeddings and readouts; what reads and writes."""

from seqjax.models.encoder_decoder import encoder_decoder
from seqjax.models.sequence import sequence_model

__all__ = ["encoder_decoder", "sequence_model"]

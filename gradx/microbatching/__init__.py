"""Functions of a batch, computed a few rows at a time."""

from gradx.glossary import document_all
from gradx.microbatching.accumulators import AccumulationType, Accumulator
from gradx.microbatching.batches import reshape_batch_axis
from gradx.microbatching.functions import Aux, micro_grad, micro_vmap, microbatch

__all__ = ["AccumulationType", "Accumulator", "Aux", "micro_grad", "micro_vmap", "microbatch", "reshape_batch_axis"]

__dir__ = document_all(globals(), __all__)

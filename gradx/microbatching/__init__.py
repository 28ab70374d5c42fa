"""Functions of a batch, computed a few rows at a time."""

from gradx.microbatching.accumulators import AccumulationType as AccumulationType
from gradx.microbatching.accumulators import Accumulator as Accumulator
from gradx.microbatching.batches import reshape_batch_axis as reshape_batch_axis
from gradx.microbatching.functions import Aux as Aux
from gradx.microbatching.functions import micro_grad as micro_grad
from gradx.microbatching.functions import micro_vmap as micro_vmap
from gradx.microbatching.functions import microbatch as microbatch

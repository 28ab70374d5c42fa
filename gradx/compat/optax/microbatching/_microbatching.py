"""`optax.microbatching._microbatching`, by gradx."""

from gradx.compat.like_optax.microbatching import (
    micro_grad as micro_grad,
    micro_vmap as micro_vmap,
    microbatch as microbatch,
)
from gradx.microbatching import (
    AccumulationType as AccumulationType,
    Accumulator as Accumulator,
    reshape_batch_axis as reshape_batch_axis,
)

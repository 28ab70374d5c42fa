"""`optax.transforms._combining`, by gradx."""

from gradx import PartitionState as PartitionState
from gradx.compat.like_optax.factories import chain as chain, named_chain as named_chain
from gradx.compat.like_optax.masking import partition as partition

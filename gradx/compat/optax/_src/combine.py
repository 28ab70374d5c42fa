"""`optax._src.combine`, by gradx."""

from gradx.compat.like_optax.factories import chain as chain, named_chain as named_chain
from gradx.compat.like_optax.masking import (
    MultiTransformState as MultiTransformState,
    multi_transform as multi_transform,
    partition as partition,
)

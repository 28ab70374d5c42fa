"""`optax.contrib._dog`, by gradx."""

from gradx import DoGState as DoGState, DoWGState as DoWGState
from gradx.compat.like_optax.factories import (
    dog as dog,
    dowg as dowg,
    scale_by_dog as scale_by_dog,
    scale_by_dowg as scale_by_dowg,
)

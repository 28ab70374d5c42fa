"""`optax.contrib._cocob`, by gradx."""

from gradx import COCOBState as COCOBState
from gradx.compat.like_optax.factories import scale_by_cocob as scale_by_cocob
from gradx.compat.like_optax.later import cocob as cocob

"""`optax.transforms._constraining`, by gradx."""

from gradx import ZeroNansState as ZeroNansState
from gradx.compat.like_optax.factories import zero_nans as zero_nans

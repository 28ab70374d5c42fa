"""`optax.transforms._constraining`, by gradx."""

from gradx import ZeroNansState as ZeroNansState
from gradx.compat.like_optax.factories import keep_params_nonnegative as keep_params_nonnegative, zero_nans as zero_nans

"""`optax._src.constrain`, by gradx."""

from gradx import ZeroNansState as ZeroNansState, zero_nans as zero_nans
from gradx.compat.like_optax.base import NonNegativeParamsState as NonNegativeParamsState

"""`optax.transforms._constraining`, by gradx."""

from gradx import ZeroNansState as ZeroNansState, zero_nans as zero_nans

"""`optax._src.factorized`, by gradx."""

from gradx import FactoredState as FactoredState
from gradx.compat.like_optax.later import scale_by_factored_rms as scale_by_factored_rms

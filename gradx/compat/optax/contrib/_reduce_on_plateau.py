"""`optax.contrib._reduce_on_plateau`, by gradx."""

from gradx import ReduceLROnPlateauState as ReduceLROnPlateauState
from gradx.compat.like_optax.factories import reduce_on_plateau as reduce_on_plateau

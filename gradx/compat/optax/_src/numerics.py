"""`optax._src.numerics`, by gradx."""

from gradx import safe_increment as safe_increment
from gradx.compat.like_optax.utilities import safe_int32_increment as safe_int32_increment
from gradx.numerics import abs_sq as abs_sq, safe_norm as safe_norm, safe_root_mean_squares as safe_root_mean_squares

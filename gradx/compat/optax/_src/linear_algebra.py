"""`optax._src.linear_algebra`, by gradx."""

from gradx.compat.like_optax.private import power_iteration_goes_on as _power_iteration_cond_fun
from gradx.compat.like_optax.recipes import global_norm as global_norm
from gradx.compat.like_optax.utilities import (
    get_spectral_radius_upper_bound as get_spectral_radius_upper_bound,
    nnls as nnls,
)
from gradx.linalg import matrix_inverse_pth_root as matrix_inverse_pth_root, power_iteration as power_iteration

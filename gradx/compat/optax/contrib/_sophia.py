"""`optax.contrib._sophia`, by gradx."""

from gradx import HutchinsonState as HutchinsonState, SophiaState as SophiaState
from gradx.compat.like_optax.factories import (
    hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian,
    scale_by_sophia as scale_by_sophia,
)
from gradx.compat.like_optax.later import sophia as sophia

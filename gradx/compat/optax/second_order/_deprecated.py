"""`optax.second_order._deprecated`, by gradx."""

from gradx.second_order import fisher_diag as fisher_diag, hessian_diag as hessian_diag, hvp as hvp

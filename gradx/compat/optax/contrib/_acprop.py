"""`optax.contrib._acprop`, by gradx."""

from gradx.compat.like_optax.factories import acprop as acprop, scale_by_acprop as scale_by_acprop

"""`optax.contrib._adopt`, by gradx."""

from gradx.compat.like_optax.factories import adopt as adopt, scale_by_adopt as scale_by_adopt

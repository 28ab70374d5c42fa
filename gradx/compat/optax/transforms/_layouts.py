"""`optax.transforms._layouts`, by gradx."""

from gradx.compat.like_optax.factories import flatten as flatten

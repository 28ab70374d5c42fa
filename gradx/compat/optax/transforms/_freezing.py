"""`optax.transforms._freezing`, by gradx."""

from gradx.compat.like_optax.factories import freeze as freeze

"""`optax.transforms._freezing`, by gradx."""

from gradx.compat.like_optax.masking import freeze as freeze, selective_transform as selective_transform

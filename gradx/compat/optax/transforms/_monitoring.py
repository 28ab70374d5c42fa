"""`optax.transforms._monitoring`, by gradx."""

"""`optax.transforms._layouts`, by gradx."""

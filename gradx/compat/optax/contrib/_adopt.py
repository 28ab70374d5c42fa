"""`optax.contrib._adopt`, by gradx."""

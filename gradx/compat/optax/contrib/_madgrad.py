"""`optax.contrib._madgrad`, by gradx."""

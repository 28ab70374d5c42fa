"""`optax.contrib._sophia`, by gradx."""

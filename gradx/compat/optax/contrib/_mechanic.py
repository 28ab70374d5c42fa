"""`optax.contrib._mechanic`, by gradx."""

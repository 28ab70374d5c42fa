"""`optax.contrib._dog`, by gradx."""

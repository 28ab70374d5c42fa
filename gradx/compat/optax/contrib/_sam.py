"""`optax.contrib._sam`, by gradx."""

"""`optax.contrib._privacy`, by gradx."""

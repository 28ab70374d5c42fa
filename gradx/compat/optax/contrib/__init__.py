"""`optax.contrib`, by gradx."""

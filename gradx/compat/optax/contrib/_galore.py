"""`optax.contrib._galore`, by gradx."""

"""`optax.contrib._reduce_on_plateau`, by gradx."""

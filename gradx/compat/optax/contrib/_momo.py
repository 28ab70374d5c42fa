"""`optax.contrib._momo`, by gradx."""

"""`optax.contrib._prodigy`, by gradx."""

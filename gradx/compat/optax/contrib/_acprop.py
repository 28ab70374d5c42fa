"""`optax.contrib._acprop`, by gradx."""

"""`optax.contrib._cocob`, by gradx."""

"""`optax.experimental`, by gradx."""

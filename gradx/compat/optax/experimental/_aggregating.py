"""`optax.experimental._aggregating`, by gradx."""

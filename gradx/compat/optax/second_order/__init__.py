"""`optax.second_order`, by gradx."""

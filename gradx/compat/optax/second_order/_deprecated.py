"""`optax.second_order._deprecated`, by gradx."""

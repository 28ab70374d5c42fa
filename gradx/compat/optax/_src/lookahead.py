"""`optax._src.lookahead`, by gradx."""

"""`optax._src.factorized`, by gradx."""

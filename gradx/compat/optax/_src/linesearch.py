"""`optax._src.linesearch`, by gradx."""

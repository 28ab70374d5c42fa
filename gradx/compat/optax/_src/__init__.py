"""`optax._src`, by gradx: the paths that programs reach into."""

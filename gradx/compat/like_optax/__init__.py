"""What Optax does otherwise than gradx, as Optax does it: the rest of the names of `gradx.compat.optax`."""

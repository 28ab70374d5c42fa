"""What Optax does otherwise than gradx, as Optax does it: the names of `gradx.compat.optax` that gradx does not have."""

"""gradx: gradient transformations for JAX, as plain values."""

"""`optax.contrib._ademamix`, by gradx."""

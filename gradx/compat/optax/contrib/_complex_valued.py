"""`optax.contrib._complex_valued`, by gradx."""

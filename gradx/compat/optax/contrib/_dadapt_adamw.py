"""`optax.contrib._dadapt_adamw`, by gradx."""

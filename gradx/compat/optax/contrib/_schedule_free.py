"""`optax.contrib._schedule_free`, by gradx."""

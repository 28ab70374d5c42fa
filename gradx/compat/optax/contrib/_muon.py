"""`optax.contrib._muon`, by gradx."""

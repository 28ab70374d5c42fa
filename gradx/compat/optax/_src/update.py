"""`optax._src.update`, by gradx."""

from gradx import apply_updates as apply_updates

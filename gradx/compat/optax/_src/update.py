"""`optax._src.update`, by gradx."""

from gradx import (
    apply_updates as apply_updates,
    incremental_update as incremental_update,
    periodic_update as periodic_update,
)

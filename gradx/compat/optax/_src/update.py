"""`optax._src.update`, by gradx."""

from gradx import (
    incremental_update as incremental_update,
    periodic_update as periodic_update,
)
from gradx.compat.like_optax.base import apply_updates as apply_updates

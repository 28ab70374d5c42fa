"""`optax.schedules._join`, by gradx."""

from gradx import join_schedules as join_schedules

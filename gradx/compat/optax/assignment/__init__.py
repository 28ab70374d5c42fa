"""`optax.assignment`, by gradx."""

from gradx.assignment import (
    base_hungarian_algorithm as base_hungarian_algorithm,
    hungarian_algorithm as hungarian_algorithm,
)

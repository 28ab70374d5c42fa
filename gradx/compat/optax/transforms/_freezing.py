"""`optax.transforms._freezing`, by gradx."""

from gradx import freeze as freeze

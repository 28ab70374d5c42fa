"""`optax.experimental`, by gradx."""

from gradx.compat.optax.experimental import _aggregating as aggregating

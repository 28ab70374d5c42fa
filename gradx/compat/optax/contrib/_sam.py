"""`optax.contrib._sam`, by gradx."""

from gradx import SAMState as SAMState
from gradx.compat.like_optax.factories import normalize as normalize, sam as sam

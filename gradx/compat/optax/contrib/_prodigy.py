"""`optax.contrib._prodigy`, by gradx."""

from gradx import ProdigyState as ProdigyState
from gradx.compat.like_optax.factories import prodigy as prodigy

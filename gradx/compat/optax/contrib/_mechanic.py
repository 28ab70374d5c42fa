"""`optax.contrib._mechanic`, by gradx."""

from gradx import MechanicState as MechanicState
from gradx.compat.like_optax.factories import mechanize as mechanize

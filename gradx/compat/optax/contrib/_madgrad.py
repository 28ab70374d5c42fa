"""`optax.contrib._madgrad`, by gradx."""

from gradx import MadgradState as MadgradState
from gradx.compat.like_optax.factories import madgrad as madgrad, scale_by_madgrad as scale_by_madgrad

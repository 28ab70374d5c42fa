"""`optax.contrib._madgrad`, by gradx."""

from gradx import MadgradState as MadgradState
from gradx.compat.like_optax.factories import scale_by_madgrad as scale_by_madgrad
from gradx.compat.like_optax.later import madgrad as madgrad

"""`optax.contrib._momo`, by gradx."""

from gradx import MomoAdamState as MomoAdamState, MomoState as MomoState
from gradx.compat.like_optax.factories import momo as momo, momo_adam as momo_adam

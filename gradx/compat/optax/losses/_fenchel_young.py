"""`optax.losses._fenchel_young`, by gradx."""

from gradx.compat.like_optax.losses import MaxFun as MaxFun
from gradx.losses import make_fenchel_young_loss as make_fenchel_young_loss

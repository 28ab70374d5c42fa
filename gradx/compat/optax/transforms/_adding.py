"""`optax.transforms._adding`, by gradx."""

from gradx import AddNoiseState as AddNoiseState
from gradx.compat.like_optax.factories import add_decayed_weights as add_decayed_weights
from gradx.compat.like_optax.noise import add_noise as add_noise
from gradx.compat.like_optax.recipes import WeightDecaySchedule as WeightDecaySchedule

"""`optax.contrib._dadapt_adamw`, by gradx."""

from gradx import DAdaptAdamWState as DAdaptAdamWState
from gradx.compat.like_optax.factories import dadapt_adamw as dadapt_adamw

"""`optax.transforms._conditionality`, by gradx."""

from gradx.compat.like_optax.base import ConditionFn as ConditionFn

"""`optax.transforms._conditionality`, by gradx."""

from gradx import (
    ApplyIfFiniteState as ApplyIfFiniteState,
    ConditionallyMaskState as ConditionallyMaskState,
    ConditionallyTransformState as ConditionallyTransformState,
)
from gradx.compat.like_optax.base import ConditionFn as ConditionFn
from gradx.compat.like_optax.factories import (
    apply_if_finite as apply_if_finite,
    conditionally_mask as conditionally_mask,
    conditionally_transform as conditionally_transform,
)

"""`optax._src.wrappers`, by gradx."""

from gradx import (
    ApplyIfFiniteState as ApplyIfFiniteState,
    ConditionallyMaskState as ConditionallyMaskState,
    ConditionallyTransformState as ConditionallyTransformState,
    MaskedState as MaskedState,
    MultiStepsState as MultiStepsState,
    skip_large_updates as skip_large_updates,
    skip_not_finite as skip_not_finite,
)
from gradx.compat.like_optax.base import (
    ConditionFn as ConditionFn,
    ShouldSkipUpdateFunction as ShouldSkipUpdateFunction,
)
from gradx.compat.like_optax.factories import (
    apply_if_finite as apply_if_finite,
    conditionally_mask as conditionally_mask,
    conditionally_transform as conditionally_transform,
    flatten as flatten,
)
from gradx.compat.like_optax.masking import masked as masked
from gradx.compat.like_optax.recipes import MultiSteps as MultiSteps
from gradx.core import MaskedNode as MaskedNode

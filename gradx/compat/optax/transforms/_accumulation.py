"""`optax.transforms._accumulation`, by gradx."""

from gradx import (
    EmaState as EmaState,
    MultiStepsState as MultiStepsState,
    TraceState as TraceState,
    skip_large_updates as skip_large_updates,
    skip_not_finite as skip_not_finite,
)
from gradx.compat.like_optax.base import ShouldSkipUpdateFunction as ShouldSkipUpdateFunction
from gradx.compat.like_optax.factories import ema as ema
from gradx.compat.like_optax.recipes import MultiSteps as MultiSteps, trace as trace

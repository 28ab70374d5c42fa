"""`optax.transforms`, by gradx."""

from gradx import (
    AddNoiseState as AddNoiseState,
    ApplyIfFiniteState as ApplyIfFiniteState,
    ConditionallyMaskState as ConditionallyMaskState,
    ConditionallyTransformState as ConditionallyTransformState,
    EmaState as EmaState,
    MaskedState as MaskedState,
    MonitorState as MonitorState,
    MultiStepsState as MultiStepsState,
    PartitionState as PartitionState,
    SnapshotState as SnapshotState,
    TraceState as TraceState,
    ZeroNansState as ZeroNansState,
    per_example_global_norm_clip as per_example_global_norm_clip,
    per_example_layer_norm_clip as per_example_layer_norm_clip,
    skip_large_updates as skip_large_updates,
    skip_not_finite as skip_not_finite,
)
from gradx.compat.like_optax.base import (
    ConditionFn as ConditionFn,
    NonNegativeParamsState as NonNegativeParamsState,
    ShouldSkipUpdateFunction as ShouldSkipUpdateFunction,
)
from gradx.compat.like_optax.factories import (
    adaptive_grad_clip as adaptive_grad_clip,
    add_decayed_weights as add_decayed_weights,
    apply_if_finite as apply_if_finite,
    chain as chain,
    clip as clip,
    clip_by_global_norm as clip_by_global_norm,
    conditionally_mask as conditionally_mask,
    conditionally_transform as conditionally_transform,
    ema as ema,
    flatten as flatten,
    keep_params_nonnegative as keep_params_nonnegative,
    measure_with_ema as measure_with_ema,
    monitor as monitor,
    named_chain as named_chain,
    snapshot as snapshot,
    zero_nans as zero_nans,
)
from gradx.compat.like_optax.masking import (
    freeze as freeze,
    masked as masked,
    partition as partition,
    selective_transform as selective_transform,
)
from gradx.compat.like_optax.noise import add_noise as add_noise
from gradx.compat.like_optax.recipes import (
    MultiSteps as MultiSteps,
    clip_by_block_rms as clip_by_block_rms,
    trace as trace,
    unitwise_clip as unitwise_clip,
    unitwise_norm as unitwise_norm,
)
from gradx.core import MaskedNode as MaskedNode

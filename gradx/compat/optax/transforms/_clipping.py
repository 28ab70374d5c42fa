"""`optax.transforms._clipping`, by gradx."""

from gradx import (
    per_example_global_norm_clip as per_example_global_norm_clip,
    per_example_layer_norm_clip as per_example_layer_norm_clip,
)
from gradx.compat.like_optax.factories import (
    adaptive_grad_clip as adaptive_grad_clip,
    clip as clip,
    clip_by_global_norm as clip_by_global_norm,
)
from gradx.compat.like_optax.recipes import (
    clip_by_block_rms as clip_by_block_rms,
    unitwise_clip as unitwise_clip,
    unitwise_norm as unitwise_norm,
)

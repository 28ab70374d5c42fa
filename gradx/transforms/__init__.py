"""Building blocks: transformations that are no optimizer by themselves."""

from gradx.glossary import document_all
from gradx.transforms.clip import adaptive_grad_clip, clip, clip_by_block_rms, clip_by_global_norm
from gradx.transforms.constrain import ZeroNansState, zero_nans
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import EmaState, TraceState, ema, momentum
from gradx.transforms.noise import AddNoiseState, add_noise
from gradx.transforms.normalize import (
    centralize,
    normalize_by_update_norm,
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from gradx.transforms.privacy import (
    DifferentiallyPrivateAggregateState,
    differentially_private_aggregate,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from gradx.transforms.scale import scale, scale_by_learning_rate, scale_by_schedule

__all__ = [
    "AddNoiseState",
    "DifferentiallyPrivateAggregateState",
    "EmaState",
    "TraceState",
    "ZeroNansState",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "differentially_private_aggregate",
    "ema",
    "momentum",
    "normalize_by_update_norm",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "scale",
    "scale_by_learning_rate",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_schedule",
    "scale_by_trust_ratio",
    "zero_nans",
]

__dir__ = document_all(globals(), __all__)

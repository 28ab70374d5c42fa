"""Building blocks: transformations that are no optimizer by themselves."""

from gradx.glossary import document_all
from gradx.transforms.adagc import AdaGCState, adagc
from gradx.transforms.apply_every import ApplyEvery, apply_every
from gradx.transforms.backtracking import (
    BacktrackingLinesearchInfo,
    ScaleByBacktrackingLinesearchState,
    scale_by_backtracking_linesearch,
)
from gradx.transforms.clip import adaptive_grad_clip, clip, clip_by_block_rms, clip_by_global_norm
from gradx.transforms.constrain import NonNegativeParamsState, ZeroNansState, keep_params_nonnegative, zero_nans
from gradx.transforms.decay import add_cautious_decayed_weights, add_corrected_decayed_weights, add_decayed_weights
from gradx.transforms.examples import (
    ExampleMoments,
    TrackExamplesState,
    average_examples,
    example_moments,
    track_examples,
)
from gradx.transforms.line_search import value_and_grad_from_state
from gradx.transforms.mars import MarsState, mars_correction
from gradx.transforms.matrices import scale_by_shape
from gradx.transforms.momentum import EmaState, TraceState, ema, momentum
from gradx.transforms.more_thuente import scale_by_more_thuente_linesearch
from gradx.transforms.noise import AddNoiseState, add_noise
from gradx.transforms.normalize import (
    centralize,
    normalize,
    normalize_by_update_norm,
    scale_by_param_block_norm,
    scale_by_param_block_rms,
    scale_by_trust_ratio,
)
from gradx.transforms.plain import (
    global_norm,
    incremental_update,
    init_empty_state,
    periodic_update,
    safe_increment,
    scale_gradient,
)
from gradx.transforms.plateau import ReduceLROnPlateauState, reduce_on_plateau
from gradx.transforms.privacy import (
    DifferentiallyPrivateAggregateState,
    differentially_private_aggregate,
    per_example_global_norm_clip,
    per_example_layer_norm_clip,
)
from gradx.transforms.scale import scale, scale_by_learning_rate, scale_by_schedule
from gradx.transforms.zclip import ZClipState, zclip
from gradx.transforms.zoom import ScaleByZoomLinesearchState, ZoomLinesearchInfo, scale_by_zoom_linesearch

__all__ = [
    "AdaGCState",
    "AddNoiseState",
    "ApplyEvery",
    "BacktrackingLinesearchInfo",
    "DifferentiallyPrivateAggregateState",
    "EmaState",
    "ExampleMoments",
    "MarsState",
    "NonNegativeParamsState",
    "ReduceLROnPlateauState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByZoomLinesearchState",
    "TraceState",
    "TrackExamplesState",
    "ZClipState",
    "ZeroNansState",
    "ZoomLinesearchInfo",
    "adagc",
    "adaptive_grad_clip",
    "add_cautious_decayed_weights",
    "add_corrected_decayed_weights",
    "add_decayed_weights",
    "add_noise",
    "apply_every",
    "average_examples",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "differentially_private_aggregate",
    "ema",
    "example_moments",
    "global_norm",
    "incremental_update",
    "init_empty_state",
    "keep_params_nonnegative",
    "mars_correction",
    "momentum",
    "normalize",
    "normalize_by_update_norm",
    "per_example_global_norm_clip",
    "per_example_layer_norm_clip",
    "periodic_update",
    "reduce_on_plateau",
    "safe_increment",
    "scale",
    "scale_by_backtracking_linesearch",
    "scale_by_learning_rate",
    "scale_by_more_thuente_linesearch",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_schedule",
    "scale_by_shape",
    "scale_by_trust_ratio",
    "scale_by_zoom_linesearch",
    "scale_gradient",
    "track_examples",
    "value_and_grad_from_state",
    "zclip",
    "zero_nans",
]

__dir__ = document_all(globals(), __all__)

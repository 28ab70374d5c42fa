"""Building blocks: transformations that are no optimizer by themselves."""

from gradx.glossary import document_all
from gradx.transforms.backtracking import (
    BacktrackingLinesearchInfo,
    ScaleByBacktrackingLinesearchState,
    scale_by_backtracking_linesearch,
)
from gradx.transforms.clip import adaptive_grad_clip, clip, clip_by_block_rms, clip_by_global_norm
from gradx.transforms.constrain import ZeroNansState, zero_nans
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.line_search import value_and_grad_from_state
from gradx.transforms.momentum import EmaState, TraceState, ema, momentum
from gradx.transforms.more_thuente import scale_by_more_thuente_linesearch
from gradx.transforms.noise import AddNoiseState, add_noise
from gradx.transforms.normalize import centralize
from gradx.transforms.scale import scale, scale_by_learning_rate, scale_by_schedule
from gradx.transforms.zoom import ScaleByZoomLinesearchState, ZoomLinesearchInfo, scale_by_zoom_linesearch

__all__ = [
    "AddNoiseState",
    "BacktrackingLinesearchInfo",
    "EmaState",
    "ScaleByBacktrackingLinesearchState",
    "ScaleByZoomLinesearchState",
    "TraceState",
    "ZeroNansState",
    "ZoomLinesearchInfo",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "centralize",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "ema",
    "momentum",
    "scale",
    "scale_by_backtracking_linesearch",
    "scale_by_learning_rate",
    "scale_by_more_thuente_linesearch",
    "scale_by_schedule",
    "scale_by_zoom_linesearch",
    "value_and_grad_from_state",
    "zero_nans",
]

__dir__ = document_all(globals(), __all__)

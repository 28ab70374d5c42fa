"""gradx: gradient transformations for JAX, as plain values."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from gradx import (
    assignment,
    diagnose,
    linalg,
    losses,
    microbatching,
    optimizers,
    perturbations,
    projections,
    recipes,
    schedules,
    transforms,
    tree,
    tune,
    wrappers,
)
from gradx.combine import MaskedState, PartitionState, chain, freeze, masked, named_chain, partition, set_to_zero
from gradx.core import (
    EmptyState,
    GradientTransformation,
    ScheduledState,
    apply_updates,
    identity,
    stateless,
    stateless_with_tree_map,
    transformation,
)
from gradx.glossary import document_all
from gradx.hyperparams import concrete, hyperparams, replace
from gradx.optimizers import (
    ScaleByAdaDeltaState,
    ScaleByAdamState,
    ScaleByRmsState,
    ScaleByRssState,
    ScaleByRStdDevState,
    adadelta,
    adagrad,
    adam,
    adamw,
    nadam,
    nadamw,
    rmsprop,
    scale_by_adadelta,
    scale_by_adam,
    scale_by_rms,
    scale_by_rss,
    scale_by_stddev,
    sgd,
)
from gradx.scheduled import schedule
from gradx.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    cosine_restarts_schedule,
    exponential_decay,
    inverse_sqrt_schedule,
    join_schedules,
    linear_onecycle_schedule,
    linear_schedule,
    multi_step_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    polynomial_schedule,
    sgdr_schedule,
    step_decay_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_linear_decay_schedule,
    warmup_stable_decay_schedule,
)
from gradx.transforms import (
    AddNoiseState,
    EmaState,
    TraceState,
    ZeroNansState,
    adaptive_grad_clip,
    add_decayed_weights,
    add_noise,
    centralize,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    ema,
    momentum,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
    zero_nans,
)
from gradx.typing import Params, ScalarOrSchedule, Schedule, State, Updates
from gradx.wrappers import (
    InjectHyperparamsState,
    MultiSteps,
    MultiStepsState,
    flush,
    has_updated,
    inject_hyperparams,
    set_hyperparams,
    skip_large_updates,
    skip_not_finite,
)

if TYPE_CHECKING:
    from gradx import testing as testing
    from gradx import viz as viz

__version__ = "0.1.0"

__all__ = [
    "AddNoiseState",
    "EmaState",
    "EmptyState",
    "GradientTransformation",
    "InjectHyperparamsState",
    "MaskedState",
    "MultiSteps",
    "MultiStepsState",
    "Params",
    "PartitionState",
    "ScalarOrSchedule",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "Schedule",
    "ScheduledState",
    "State",
    "TraceState",
    "Updates",
    "ZeroNansState",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "adaptive_grad_clip",
    "add_decayed_weights",
    "add_noise",
    "apply_updates",
    "assignment",
    "centralize",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "concrete",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "diagnose",
    "ema",
    "exponential_decay",
    "flush",
    "freeze",
    "has_updated",
    "hyperparams",
    "identity",
    "inject_hyperparams",
    "inverse_sqrt_schedule",
    "join_schedules",
    "linalg",
    "linear_onecycle_schedule",
    "linear_schedule",
    "losses",
    "masked",
    "microbatching",
    "momentum",
    "multi_step_schedule",
    "nadam",
    "nadamw",
    "named_chain",
    "optimizers",
    "partition",
    "perturbations",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "projections",
    "recipes",
    "replace",
    "rmsprop",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_learning_rate",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_stddev",
    "schedule",
    "schedules",
    "set_hyperparams",
    "set_to_zero",
    "sgd",
    "sgdr_schedule",
    "skip_large_updates",
    "skip_not_finite",
    "stateless",
    "stateless_with_tree_map",
    "step_decay_schedule",
    "transformation",
    "transforms",
    "tree",
    "tune",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_linear_decay_schedule",
    "warmup_stable_decay_schedule",
    "wrappers",
    "zero_nans",
]

_LAZY = ("testing", "viz")
"""Imported when first asked for: they are not needed to train."""

document_all(globals(), __all__)


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        try:
            return importlib.import_module(f"gradx.{name}")
        except ImportError as error:  # matplotlib is an extra; help() and hasattr() go on without it
            raise AttributeError(str(error)) from error
    if name.startswith("_"):
        raise AttributeError(f"module 'gradx' has no attribute {name!r}")
    # (`from gradx import unknown` would look for the attribute first, and end here again)
    raise AttributeError(importlib.import_module("gradx.unknown").message(sys.modules[__name__], name))

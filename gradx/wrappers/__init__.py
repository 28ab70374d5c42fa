"""Transformations around another."""

from gradx.glossary import document_all
from gradx.wrappers.accumulate import (
    MultiSteps,
    MultiStepsState,
    flush,
    has_updated,
    skip_large_updates,
    skip_not_finite,
)
from gradx.wrappers.average import AverageParamsState, average_params
from gradx.wrappers.cautious import cautious
from gradx.wrappers.complex import SplitRealAndImaginaryArrays, SplitRealAndImaginaryState, split_real_and_imaginary
from gradx.wrappers.conditional import (
    ConditionallyMaskState,
    ConditionallyTransformState,
    conditionally_mask,
    conditionally_transform,
)
from gradx.wrappers.flat import flatten
from gradx.wrappers.graft import GraftState, graft
from gradx.wrappers.hyperball import HyperballState, hyperball
from gradx.wrappers.inject import InjectHyperparamsState, WrappedScheduleState, inject_hyperparams, set_hyperparams
from gradx.wrappers.lookahead import LookaheadParams, LookaheadState, lookahead
from gradx.wrappers.loss_scale import (
    DynamicLossScaleState,
    LossScaleState,
    dynamic_loss_scale,
    scale_loss,
    static_loss_scale,
)
from gradx.wrappers.mechanic import MechanicState, mechanize
from gradx.wrappers.monitor import MonitorState, SnapshotState, measure_with_ema, monitor, snapshot
from gradx.wrappers.primal_averaging import PrimalAveragingState, generalized_primal_averaging
from gradx.wrappers.sam import SAMState, sam
from gradx.wrappers.schedule_free import ScheduleFreeState, schedule_free, schedule_free_eval_params
from gradx.wrappers.skip import ApplyIfFiniteState, SkipOutliersState, apply_if_finite, skip_outliers

__all__ = [
    "ApplyIfFiniteState",
    "AverageParamsState",
    "ConditionallyMaskState",
    "ConditionallyTransformState",
    "DynamicLossScaleState",
    "GraftState",
    "HyperballState",
    "InjectHyperparamsState",
    "LookaheadParams",
    "LookaheadState",
    "LossScaleState",
    "MechanicState",
    "MonitorState",
    "MultiSteps",
    "MultiStepsState",
    "PrimalAveragingState",
    "SAMState",
    "ScheduleFreeState",
    "SkipOutliersState",
    "SnapshotState",
    "SplitRealAndImaginaryArrays",
    "SplitRealAndImaginaryState",
    "WrappedScheduleState",
    "apply_if_finite",
    "average_params",
    "cautious",
    "conditionally_mask",
    "conditionally_transform",
    "dynamic_loss_scale",
    "flatten",
    "flush",
    "generalized_primal_averaging",
    "graft",
    "has_updated",
    "hyperball",
    "inject_hyperparams",
    "lookahead",
    "measure_with_ema",
    "mechanize",
    "monitor",
    "sam",
    "scale_loss",
    "schedule_free",
    "schedule_free_eval_params",
    "set_hyperparams",
    "skip_large_updates",
    "skip_not_finite",
    "skip_outliers",
    "snapshot",
    "split_real_and_imaginary",
    "static_loss_scale",
]

__dir__ = document_all(globals(), __all__)

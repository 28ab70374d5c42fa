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
from gradx.wrappers.inject import InjectHyperparamsState, inject_hyperparams, set_hyperparams
from gradx.wrappers.mechanic import MechanicState, mechanize
from gradx.wrappers.sam import SAMState, sam
from gradx.wrappers.schedule_free import ScheduleFreeState, schedule_free, schedule_free_eval_params

__all__ = [
    "InjectHyperparamsState",
    "MechanicState",
    "MultiSteps",
    "MultiStepsState",
    "SAMState",
    "ScheduleFreeState",
    "flush",
    "has_updated",
    "inject_hyperparams",
    "mechanize",
    "sam",
    "schedule_free",
    "schedule_free_eval_params",
    "set_hyperparams",
    "skip_large_updates",
    "skip_not_finite",
]

__dir__ = document_all(globals(), __all__)

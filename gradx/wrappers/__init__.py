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
from gradx.wrappers.inject import InjectHyperparamsState, WrappedScheduleState, inject_hyperparams, set_hyperparams

__all__ = [
    "InjectHyperparamsState",
    "MultiSteps",
    "MultiStepsState",
    "WrappedScheduleState",
    "flush",
    "has_updated",
    "inject_hyperparams",
    "set_hyperparams",
    "skip_large_updates",
    "skip_not_finite",
]

__dir__ = document_all(globals(), __all__)

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
from gradx.wrappers.complex import SplitRealAndImaginaryArrays, SplitRealAndImaginaryState, split_real_and_imaginary
from gradx.wrappers.inject import InjectHyperparamsState, inject_hyperparams, set_hyperparams

__all__ = [
    "InjectHyperparamsState",
    "MultiSteps",
    "MultiStepsState",
    "SplitRealAndImaginaryArrays",
    "SplitRealAndImaginaryState",
    "flush",
    "has_updated",
    "inject_hyperparams",
    "set_hyperparams",
    "skip_large_updates",
    "skip_not_finite",
    "split_real_and_imaginary",
]

__dir__ = document_all(globals(), __all__)

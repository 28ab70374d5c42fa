"""Diagnosis: per-layer statistics of every step, and what they say about a run in plain words.

`step_statistics` is pure and jit-safe; its results stacked along the steps are a history, which `explain` reads.
"""

from gradx.diagnose.findings import Finding
from gradx.diagnose.rules import explain
from gradx.diagnose.statistics import StepStatistics, stack, step_statistics
from gradx.glossary import document_all

__all__ = ["Finding", "StepStatistics", "explain", "stack", "step_statistics"]

__dir__ = document_all(globals(), __all__)

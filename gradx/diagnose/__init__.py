"""Diagnosis: per-layer statistics of every step, and what they say about a run in plain words.

`step_statistics` is pure and jit-safe; its results stacked along the steps are a history, which `explain` reads.
"""

from gradx.diagnose.findings import Finding as Finding
from gradx.diagnose.rules import explain as explain
from gradx.diagnose.statistics import StepStatistics as StepStatistics
from gradx.diagnose.statistics import stack as stack
from gradx.diagnose.statistics import step_statistics as step_statistics

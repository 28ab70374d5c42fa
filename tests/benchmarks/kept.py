"""What a race may have measured, made up."""

import math

from benchmarks.results import Race, Run, Tuning
from benchmarks.task import Metric
from benchmarks.training import Point


def point(step: int, metric: float, seconds: float = 0.002) -> Point:
    """Return what a look at the test data may find."""
    return Point(step, 0.3, 0.25, metric, 0.1, seconds, {"noise": 0.5})


def unfinished_race() -> Race:
    """Return a race of two optimizers with two seeds: one is done, one has begun with its first seed."""
    accuracy = Metric("test accuracy", target=0.95, style=".1%")
    result = Race("images", "digits", accuracy, steps=20, step="64 images", textbook="adam", source="a book")
    sgd, adam = ("sgd(learning_rate=0.1)", 20, 100, 0, 2e6), ("adam(learning_rate=0.1)", 20, 100, 808)
    result.tunings = [Tuning("sgd", "sgd(learning_rate=0.1)", [0.03, 0.1, 0.3], [0.8, 0.9, math.nan])]
    result.runs = [
        Run("sgd", 0, 0.1, *sgd, [point(10, 0.95, math.nan), point(20, 0.96)]),
        Run("sgd", 1, 0.1, *sgd, [point(10, 0.9), point(20, 0.98)]),
        Run("adam", 0, 0.1, *adam, 0, [point(10, 0.9, 0.004)]),
        Run("adam", 1, 0.1, *adam),
    ]
    result.seconds = 12.3
    return result

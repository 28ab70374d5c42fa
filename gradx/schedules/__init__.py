"""Schedules: functions of the number of updates already applied, as values. Called with an array they give an array."""

import sys
from typing import Any

from gradx.glossary import document_all
from gradx.schedules.cosine import cosine_decay_schedule, cosine_restarts_schedule, sgdr_schedule
from gradx.schedules.cyclic import cyclic_schedule
from gradx.schedules.exponential import exponential_decay, inverse_sqrt_schedule, step_decay_schedule
from gradx.schedules.onecycle import cosine_onecycle_schedule, linear_onecycle_schedule
from gradx.schedules.piecewise import (
    join_schedules,
    multi_step_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
)
from gradx.schedules.polynomial import constant_schedule, linear_schedule, polynomial_schedule
from gradx.schedules.warmup import (
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
    warmup_linear_decay_schedule,
    warmup_stable_decay_schedule,
)

__all__ = [
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cosine_restarts_schedule",
    "cyclic_schedule",
    "exponential_decay",
    "inverse_sqrt_schedule",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "multi_step_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "step_decay_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    "warmup_linear_decay_schedule",
    "warmup_stable_decay_schedule",
]

__dir__ = document_all(globals(), __all__)


def __getattr__(name: str) -> Any:
    # Where Optax has it. It wraps transformations, a higher layer, which this package must not import.
    if name in ("inject_hyperparams", "InjectHyperparamsState"):
        return getattr(sys.modules["gradx"], name)
    raise AttributeError(f"module 'gradx.schedules' has no attribute {name!r}")

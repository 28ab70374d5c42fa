"""gradx: gradient transformations for JAX, as plain values."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from gradx import (
    assignment,
    checkpoint,
    diagnose,
    linalg,
    losses,
    microbatching,
    optimizers,
    perturbations,
    projections,
    recipes,
    roles,
    schedules,
    second_order,
    sharding,
    transforms,
    tree,
    tune,
    wrappers,
)
from gradx.combine import (
    MaskedState,
    PartitionState,
    chain,
    freeze,
    masked,
    named_chain,
    partition,
    selective_transform,
    set_to_zero,
)
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
from gradx.description import Description, describe
from gradx.evaluation import eval_params
from gradx.glossary import document_all
from gradx.hyperparams import concrete, hyperparams, replace
from gradx.minimization import MinimizeHistory, MinimizeResult, StopReason, minimize
from gradx.optimizers import *
from gradx.recipes.schedule_free import schedule_free_adamw, schedule_free_sgd
from gradx.scheduled import schedule
from gradx.schedules import *
from gradx.transforms import *
from gradx.typing import Params, ScalarOrSchedule, Schedule, State, Updates
from gradx.wrappers import *

if TYPE_CHECKING:
    from gradx import testing as testing, viz as viz

__version__ = "0.1.0"

__all__ = [
    "Description",
    "EmptyState",
    "GradientTransformation",
    "MaskedState",
    "MinimizeHistory",
    "MinimizeResult",
    "Params",
    "PartitionState",
    "ScalarOrSchedule",
    "Schedule",
    "ScheduledState",
    "State",
    "StopReason",
    "Updates",
    "apply_updates",
    "assignment",
    "chain",
    "checkpoint",
    "concrete",
    "describe",
    "diagnose",
    "eval_params",
    "freeze",
    "hyperparams",
    "identity",
    "linalg",
    "losses",
    "masked",
    "microbatching",
    "minimize",
    "named_chain",
    "optimizers",
    "partition",
    "perturbations",
    "projections",
    "recipes",
    "replace",
    "roles",
    "schedule",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "schedules",
    "second_order",
    "selective_transform",
    "set_to_zero",
    "sharding",
    "stateless",
    "stateless_with_tree_map",
    "transformation",
    "transforms",
    "tree",
    "tune",
    "wrappers",
]
__all__ += optimizers.__all__
__all__ += schedules.__all__
__all__ += transforms.__all__
__all__ += wrappers.__all__

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

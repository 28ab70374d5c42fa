"""The ordinary course on optimizers, claim by claim: one group a file, one small function each claim.

A group is a module with a `TITLE` and its `CLAIMS`, functions that `benchmarks.course.claim.claim` has marked.
"""

import importlib
from types import ModuleType

GROUPS = ("batches", "noise", "momentum", "rmsprop", "adam", "decay", "rates", "schedules", "depth", "tasks")
"""In the order in which a course has them."""


def load(name: str) -> ModuleType:
    """Return a group by its name; only then is its module, with all that it needs, imported."""
    return importlib.import_module(f"{__name__}.{name}")

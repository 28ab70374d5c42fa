"""The tasks that optimizers race on: one module each, named as on the command line, holding a `TASK`.

A new task is a new file here; no list names it.
"""

import importlib
import pkgutil

from benchmarks.task import Task


class Unavailable(Exception):
    """A task cannot run here, because of a package that it needs."""


def names() -> list[str]:
    """Return the names of all tasks."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Task:
    """Return a task by its name; only then is its module, with all that it needs, imported.

    Raises Unavailable where a package is missing.
    """
    try:
        return importlib.import_module(f"{__name__}.{name}").TASK
    except ImportError as missing:
        raise Unavailable(f"the task {name} cannot run here: {missing}") from missing

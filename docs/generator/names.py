"""The public names of gradx, and where each is described on the site."""

import functools
import importlib
import inspect
from dataclasses import dataclass
from typing import Any

import gradx

CORE = "core"
"""The page of the names that live at the top level alone."""
BLOCKS = "directions"
"""The page of what optimizers are made of: `scale_by_x`, and the states."""
TITLES = {
    CORE: "Values, chains, parts of trees",
    BLOCKS: "Directions and states",
    "optimizers": "Optimizers",
    "schedules": "Schedules",
    "losses": "Losses",
    "transforms": "Building blocks",
    "wrappers": "Wrappers",
    "tree": "Trees",
    "tune": "Finder and sweeps",
    "diagnose": "The doctor",
    "recipes": "Recipes",
    "roles": "Roles",
    "viz": "Pictures",
    "linalg": "Linear algebra",
    "projections": "Projections",
    "microbatching": "Microbatches",
    "perturbations": "Perturbations",
    "assignment": "Assignment",
    "second_order": "Second order",
    "testing": "The contract",
    "sharding": "Sharding",
    "checkpoint": "Checkpoints",
    "compat": "Programs of Optax",
}
"""Of pages; a namespace that is not named here is called what it is called."""
FIRST = ["optimizers", BLOCKS, "schedules", "losses", "transforms", "wrappers", CORE, "recipes", "tune", "diagnose"]
"""The pages in the order of the navigation; the others follow by name."""


@dataclass(frozen=True)
class Name:
    """A public name: `gradx.adam`, `gradx.losses.l2_loss`."""

    dotted: str
    """As one writes it."""
    page: str
    """Of the site, without extension: `reference/losses`."""
    thing: Any

    @property
    def short(self) -> str:
        """The last part of the name."""
        return self.dotted.rpartition(".")[2]

    @property
    def url(self) -> str:
        """Where it is described, from the root of the sources."""
        return f"{self.page}.md#{self.dotted}"

    @property
    def is_function(self) -> bool:
        """Whether it is called for what it returns."""
        return inspect.isfunction(self.thing)


def namespaces() -> list[str]:
    """Return the public modules of gradx, in the order of the navigation, with the pages of no module of their own."""
    modules = [name for name in dir(gradx) if inspect.ismodule(getattr(gradx, name))]
    found = {*modules, CORE, BLOCKS}
    return [name for name in FIRST if name in found] + sorted(found - set(FIRST))


def title(namespace: str) -> str:
    """Return what the page of a namespace is called."""
    return TITLES.get(namespace, namespace.replace("_", " ").capitalize())


def is_optimizer(name: str, thing: Any) -> bool:
    """Say whether a name of `gradx.optimizers` is what trains, and no part of one."""
    if not inspect.isfunction(thing) or name.startswith("scale_by_") or name == "hutchinson_estimator_diag_hessian":
        return False
    return str(inspect.signature(thing).return_annotation) == "GradientTransformation"


@functools.cache
def public() -> dict[str, Name]:
    """Return every public name by its dotted form, those of the top level first."""
    found: dict[str, Name] = {}
    homes = {}
    for space in namespaces():
        if space not in (CORE, BLOCKS):
            homes[space] = importlib.import_module(f"gradx.{space}")
    inside = {name: space for space, module in homes.items() for name in module.__all__ if name in gradx.__all__}
    for name in gradx.__all__:
        thing = getattr(gradx, name)
        if inspect.ismodule(thing):
            continue
        space = inside.get(name, CORE)
        found[f"gradx.{name}"] = Name(f"gradx.{name}", _page(space, name, thing), thing)
    for space, module in homes.items():
        for name in module.__all__:
            if f"gradx.{name}" in found and found[f"gradx.{name}"].thing is getattr(module, name):
                continue
            dotted = f"gradx.{space}.{name}"
            found[dotted] = Name(dotted, f"reference/{space}", getattr(module, name))
    return found


def _page(space: str, name: str, thing: Any) -> str:
    if space == "optimizers" or name.startswith(("schedule_free_adamw", "schedule_free_sgd")):
        return f"reference/optimizers/{name}" if is_optimizer(name, thing) else f"reference/{BLOCKS}"
    return f"reference/{space}"


def optimizers() -> list[Name]:
    """Return the names that have a page of their own, by name."""
    return sorted((x for x in public().values() if x.page.startswith("reference/optimizers/")), key=lambda x: x.short)


def on_page(page: str) -> list[Name]:
    """Return the names of a page: functions first, then classes, then the rest, each by name."""
    names = [name for name in public().values() if name.page == page]
    return sorted(names, key=lambda x: (not x.is_function, not inspect.isclass(x.thing), x.short.lower()))


def find(text: str) -> Name | None:
    """Return the name that a text means: `gradx.adam`, `losses.l2_loss`, `adamw`, or None.

    >>> find("gradx.optimizers.adam").dotted, find("gradx.losses").page, find("gradx.no_such_thing")
    ('gradx.adam', 'reference/losses', None)
    """
    names = public()
    short = text.removeprefix("gradx.")
    space, _, rest = short.partition(".")
    if space in TITLES and not rest:
        page = f"reference/{space}/index" if space == "optimizers" else f"reference/{space}"
        return Name(f"gradx.{space}", page, None)
    for dotted in (f"gradx.{short}", f"gradx.{rest}" if rest else "", f"gradx.{space}"):
        if dotted in names:
            return names[dotted]
    return None

"""One row for each parameter: what it is for, and what an optimizer does with it."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gradx import checks, tree
from gradx.core import GradientTransformation
from gradx.description.routes import Route, route_of
from gradx.description.table import Description, Row
from gradx.roles.inference import decide, leaves_of
from gradx.roles.role import Role
from gradx.tree.states import Marked, is_marked
from gradx.typing import Params, PyTree

RATES = ("learning_rate",)
DECAYS = ("weight_decay", "weight_decay_rate")
"""What factories call the two numbers that everybody asks for."""


def describe(tx: GradientTransformation, params: Params, roles: PyTree | None = None) -> Description:
    """Return a table of who gets what: for each parameter its role, transformations, rates and the state kept for it.

    It prints itself: as text, in a notebook as HTML; `.rows` has the rows. Works for every transformation, chain and
    partition, of Optax too. `?` is a role that cannot be told: `gradx.roles.infer` says why. A schedule stands by its
    name, and in full below the table.

    Args:
      params: the parameters, or their shapes (`jax.eval_shape` of what makes them).
      roles: as `gradx.roles.infer` returns them, with overrides say; None infers them.

    >>> import gradx, jax.numpy as jnp
    >>> params = {"up": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
    >>> for row in gradx.describe(gradx.adamw(1e-3, mask=gradx.roles.is_matrix), params).rows:
    ...     print(row.path, row.role.kind, row.transformation, row.learning_rate, row.weight_decay, row.state_bytes)
    up/bias bias adamw (0.001,) () 24
    up/kernel matrix adamw (0.001,) (0.0001,) 48
    """
    bare = tree.unbox(params)
    leaves, treedef = jax.tree.flatten(bare)
    shapes = [jax.ShapeDtypeStruct(np.shape(x), checks.dtype_of(x)) for x in leaves]
    marked = treedef.unflatten([Marked(x, i) for i, x in enumerate(shapes)])
    route = route_of(tx, marked)
    known = _known(bare, roles)
    kept, shared = state_bytes(tx, marked, len(leaves))
    rows = [
        Row(
            path=leaf.path,
            shape=leaf.shape,
            role=known[i],
            transformation=_reached(route, i),
            learning_rate=_values(route, i, RATES),
            weight_decay=_values(route, i, DECAYS),
            state_bytes=kept[i],
        )
        for i, leaf in enumerate(leaves_of(bare))
    ]
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in shapes)
    return Description(tuple(rows), parameter_bytes=size, shared_bytes=shared)


def _known(bare: Params, roles: PyTree | None) -> list[Role | None]:
    found = decide(bare) if roles is None else jax.tree.leaves(tree.broadcast(roles, bare, "describe: roles"))
    return [x if isinstance(x, Role) else None for x in found]


def state_bytes(tx: Any, marked: Params, n: int) -> tuple[list[int], int]:
    """Return the bytes that the state has for each parameter, and those that it has for all together."""
    kept, shared = [0] * n, 0
    for x in jax.tree.leaves(jax.eval_shape(tx.init, marked), is_leaf=is_marked):
        size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(x))
        if is_marked(x):
            kept[x.index] += size
        else:
            shared += size
    return kept, shared


def _reached(route: Route, i: int) -> str:
    """Return in words what parameter `i` goes through, or nothing."""
    if not any(i in x.members for x in route.walk() if not x.inside):
        return ""
    parts = [(part, _reached(part, i)) for part in route.inside]
    if route.is_recipe:
        labels = dict.fromkeys(_labels(parts[0][0], i)) if parts else ()
        return f"{route.name} ({', '.join(labels)})" if labels else route.name
    shown = [f"{part.label}: {text}" if part.label else text for part, text in parts if text]
    if route.is_frame:
        return " → ".join(shown)
    shown = [x for x in shown if not x.rpartition(": ")[2].startswith("_")]
    return f"{route.name}({', '.join(shown)})" if shown else route.name


def _labels(route: Route, i: int) -> Iterator[str]:
    """Go through the labels of the parts inside a recipe that parameter `i` reaches and others do not."""
    for part in route.inside:
        if i in part.members:
            if part.label and part.members != route.members:
                yield part.label
            yield from _labels(part, i)


def _values(route: Route, i: int, names: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the values under a name that parameter `i` meets: those of parts count before those of what holds them.

    But what runs another inside, and keeps something of its own for a parameter, has the last word on its rate.
    """
    if i not in route.members:
        return ()
    is_last = names is RATES and i in route.kept and _has(route, names)
    if not is_last and any(_has(inner, names) for part in route.inside for inner in part.walk()):
        return _once([x for part in route.inside for x in _values(part, i, names)])
    return tuple(route.arguments[name] for name in names if _has(route, (name,)))


def _once(values: list[Any]) -> tuple[Any, ...]:
    """Return the values without those that are there before: numbers in arrays cannot be hashed."""
    return tuple(x for k, x in enumerate(values) if not any(repr(x) == repr(y) for y in values[:k]))


def _has(route: Route, names: tuple[str, ...]) -> bool:
    return any(route.arguments.get(name) is not None for name in names)

"""Many transformations of one structure as a single one: the value whose leaves are stacked."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx import checks
from gradx.core import GradientTransformation
from gradx.hyperparams import replace


def grid(**values: Sequence) -> dict[str, list]:
    """Return every combination of the values, as lists of equal length that `sweep` takes; the last name runs fastest.

    Args:
      **values: for each name a list of values.

    >>> import gradx
    >>> gradx.tune.grid(learning_rate=[0.1, 0.2], b1=[0.8, 0.9])
    {'learning_rate': [0.1, 0.1, 0.2, 0.2], 'b1': [0.8, 0.9, 0.8, 0.9]}
    """
    listed = [_listed("grid", name, x) for name, x in values.items()]
    rows = list(itertools.product(*listed))
    return {name: [row[i] for row in rows] for i, name in enumerate(values)}


def stack(tx: GradientTransformation, values: Mapping[str, Sequence]) -> GradientTransformation:
    """Return one transformation whose leaves are stacked: member i is `gradx.replace(tx, name=values[name][i], ...)`.

    `jax.vmap` over it runs all members as one program. Numbers keep Python's weak type: they take the dtype of what
    they meet.

    Args:
      tx: the transformation to vary.
      values: for each name, as `gradx.replace` takes it, as many values as there are members: numbers, arrays of one
        shape, or schedules of one kind.

    Raises:
      TypeError: `tx` is not of gradx, or has no argument of the name, or more than one.
      ValueError: lists of unequal length, a value out of its range, or one that changes the program (a bool, an int).

    >>> import gradx
    >>> gradx.tune.stack(gradx.sgd(0.1), {"learning_rate": [0.1, 0.2]}).arguments["learning_rate"].shape
    (2,)
    """
    return stack_members("stack", tx, listed_values("stack", values))


def listed_values(owner: str, values: Mapping[str, Sequence]) -> dict[str, list]:
    """Return the values as lists of equal length; numbers in arrays become Python's, so that ranges are checked."""
    if not isinstance(values, Mapping) or not values:
        raise TypeError(f"{owner}: values must be a dict from names to lists of values, not empty, got {values!r}")
    listed = {name: _listed(owner, name, x) for name, x in values.items()}
    lengths = {name: len(x) for name, x in listed.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r}: {n}" for name, n in lengths.items())
        raise ValueError(
            f"{owner}: lists are taken together, member by member, and must be equally long, got {shown};"
            " for every combination use gradx.tune.grid"
        )
    if 0 in lengths.values():
        raise ValueError(f"{owner}: the lists of values are empty")
    return listed


def stack_members(owner: str, tx: GradientTransformation, listed: Mapping[str, list]) -> GradientTransformation:
    """Build each member, which checks it, and stack their leaves."""
    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"{owner}: tx must be a transformation of gradx, whose arguments are known, got {tx!r}")
    rows = [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]
    members = [replace(tx, **row) for row in rows]
    for i, member in enumerate(members):
        if _structure(member) != _structure(members[0]):
            raise ValueError(f"{owner}: {_why_different(tx, listed, i)}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def _listed(owner: str, name: str, values: Any) -> list:
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise TypeError(f"{owner}: {name} must be a list of values, one a member, got {values!r}")
    if hasattr(values, "ndim") and values.ndim == 0:
        raise TypeError(f"{owner}: {name} must be a list of values, one a member, got a single number, {values!r}")
    return [x.item() if hasattr(x, "item") and np.ndim(x) == 0 else x for x in values]


def _structure(tx: GradientTransformation) -> tuple:
    leaves, treedef = jax.tree.flatten(tx)
    return treedef, [(np.shape(x), checks.dtype_of(x)) for x in leaves]


def _why_different(tx: GradientTransformation, listed: Mapping[str, list], i: int) -> str:
    for name, values in listed.items():
        if _structure(replace(tx, **{name: values[i]})) != _structure(replace(tx, **{name: values[0]})):
            return (
                f"{values[0]!r} and {values[i]!r} for {name!r} make different programs: only numbers, arrays of one"
                " shape and schedules of one kind can vary within one; run one sweep for each"
            )
    return f"members 0 and {i} make different programs; run one sweep for each"

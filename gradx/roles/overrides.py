"""What the caller says of leaves, by path or pattern."""

import fnmatch
import math
from collections.abc import Iterable, Mapping

import jax

from gradx import tree
from gradx.matrices import Layout
from gradx.roles.kernels import Undecided
from gradx.roles.names import Leaf
from gradx.roles.reader import Reader
from gradx.roles.role import KINDS, WITH_LAYOUT, Kind, Role, spell
from gradx.typing import Params

Override = Kind | Layout | Role


def checked_overrides(params: Params, overrides: Mapping[str, Override]) -> Mapping[str, Override]:
    """Return the overrides, or raise for what is no role, and for patterns that fit no leaf, left out or not."""
    names = tree.paths(jax.tree.map(lambda x: 0, tree.unbox(params), is_leaf=lambda x: x is None)) if overrides else []
    for pattern, given in overrides.items():
        if not isinstance(given, Layout | Role) and given not in KINDS:
            raise ValueError(f"infer: {pattern!r} must be a Layout, a Role or one of {', '.join(KINDS)}; got {given!r}")
        layout = given.layout if isinstance(given, Role) else given
        if isinstance(layout, Layout) and not all(isinstance(side, tuple) for side in layout[:2]):
            raise ValueError(f"infer: rows and columns must be tuples of axes, got {layout} for {pattern!r}")
        if not any(_fits(name, pattern) for name in names):
            raise ValueError(f"infer: no leaf fits {pattern!r}; there are {', '.join(names)}")
    return overrides


def chosen(leaves: Iterable[Leaf], overrides: Iterable[tuple[str, Override]]) -> list[tuple[str, Override] | None]:
    """Return for each leaf the pattern and the override that counts, the last that fits, or None."""
    given = list(overrides)
    fitting = ([x for x in given if _fits(leaf.path, x[0])] for leaf in leaves)
    return [found[-1] if found else None for found in fitting]


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(f"/{path}", pattern)


def role_of(reader: Reader, i: int, pattern: str, given: Override) -> Role | Undecided:
    """Return the role that an override gives a leaf."""
    leaf = reader.leaves[i]
    if isinstance(given, Role):
        return _checked(given, leaf, pattern)
    if isinstance(given, Layout):
        known = reader.role(i)
        kind = known.kind if isinstance(known, Role) and known.layout is not None else "matrix"
        return _checked(Role(kind, given), leaf, pattern)
    if given not in WITH_LAYOUT:
        return Role(given)
    if len(reader.shape(i)) < 2:
        fault = f"infer: {pattern!r} makes '{leaf.path}' {leaf.shape} a {given}, and it is no matrix"
        raise ValueError(f"{fault}: write a pattern that leaves it out, or a kind without a layout")
    return reader.with_layout(given, i)


def _checked(role: Role, leaf: Leaf, pattern: str) -> Role:
    """Return the role, or raise where its layout is not one of the leaf's."""
    layout, n = role.layout, len(leaf.shape)
    if layout is None:
        return role
    axes = (*layout.rows, *layout.columns)
    if any(not 0 <= axis < n for axis in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"infer: {spell(layout)} for {pattern!r} names no axes of '{leaf.path}' {leaf.shape}")
    if math.prod(leaf.shape[axis] for axis in layout.columns) % layout.splits:
        raise ValueError(f"infer: {spell(layout)} for {pattern!r} does not divide '{leaf.path}' {leaf.shape}")
    return role

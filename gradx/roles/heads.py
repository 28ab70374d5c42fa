"""The layer that gives a network's outputs, where no name says which it is."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gradx.roles.names import LAST, Leaf
from gradx.roles.role import Role


def with_heads(leaves: list[Leaf], roles: Sequence[Any], free: Iterable[int]) -> list[Any]:
    """Return the roles, with `head` for the last layers of a network that is a row of layers.

    Those are the layers at the root, counted (`Dense_2`, `layers/3`) or with a word for it (`out`), whose outputs no
    other layer takes in; with such a word also one that has the shape of an embedding, turned. Where a head has a name,
    or nothing but one layer is there, all stays.

    Args:
      leaves: the parameters.
      roles: of each, or why it is not known.
      free: the indices of those that no override has decided.
    """
    known = {i: role for i, role in enumerate(roles) if isinstance(role, Role)}
    with_layout = [i for i, role in known.items() if role.layout is not None]
    if len(with_layout) < 2 or any(role.kind == "head" for role in known.values()):
        return list(roles)
    root = _common([leaf.layer[:-1] for leaf in leaves])
    taken_in = {i: _taken_in(leaf, known.get(i)) for i, leaf in enumerate(leaves)}
    tables = {leaves[i].shape for i, role in known.items() if role.kind == "embedding"}
    found = list(roles)
    for i in free:
        if i in known and _may_be_last(leaves[i], known[i], root):
            width = leaves[i].shape[known[i].layout.columns[0]]  # pyright: ignore[reportOptionalMemberAccess]
            is_read = any(width in widths for k, widths in taken_in.items() if k != i)
            if not is_read or (leaves[i].layer_words & LAST and leaves[i].shape[::-1] in tables):
                found[i] = Role("head", known[i].layout)
    return found


def _common(paths: list[tuple[str, ...]]) -> int:
    """Return how many names all paths begin with."""
    first, last = min(paths), max(paths)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _may_be_last(leaf: Leaf, role: Role, root: int) -> bool:
    layer = leaf.layer[root:]
    is_at_root = len(layer) == 1 or (len(layer) == 2 and any(part.isdigit() for part in layer))
    is_counted = any(letter.isdigit() for letter in "".join(layer))
    layout = role.layout
    is_plain = role.kind == "matrix" and layout is not None and (len(layout.rows), *layout[1:]) == (1, layout[1][:1], 1)
    return is_plain and is_at_root and not leaf.is_of_experts and (is_counted or bool(leaf.layer_words & LAST))


def _taken_in(leaf: Leaf, role: Role | None) -> set[int]:
    """Return the widths that a parameter takes in; of a table also that which it gives, for it may be the head too."""
    if role is not None and role.kind == "bias":
        return set()
    if role is None or role.layout is None:
        return set(leaf.shape)
    axes = role.layout.columns if role.kind == "embedding" else role.layout.rows
    return {math.prod(leaf.shape[axis] for axis in axes), *(leaf.shape[axis] for axis in axes)}

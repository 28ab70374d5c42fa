"""A state that came back from a store as dicts and lists, in its own containers again."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, keystr

from gradx import checks
from gradx.typing import Params, PyTree, State


def mend(tx: Any, restored: PyTree, params: Params) -> State:
    """Return a state in the containers that `tx.init` makes, from one that came back as dicts and lists.

    Stores that are not told what they read return NamedTuples as dicts of fields or as lists, tuples as lists or as
    dicts of positions, keys as strings, and leave out what holds no array. All leaves must be there, and no others.
    Where the optimizer has changed since, a state in such containers cannot be trusted: its positions have shifted.
    Give the store `state_dict` instead.

    Args:
      tx: the transformation that made the state.
      restored: what came back.
      params: the parameters, or their shapes.

    Raises ValueError that names the leaf: one that is missing, one that has no place, another shape or dtype.

    >>> import gradx
    >>> tx, params = gradx.adam(0.1), {"w": 1.0}
    >>> restored = [{"count": 7, "mu": {"w": 0.5}, "nu": {"w": 0.25}}, None]
    >>> state = gradx.checkpoint.mend(tx, restored, params)
    >>> type(state).__name__, type(state[0]).__name__, int(state[0].count)
    ('tuple', 'ScaleByAdamState', 7)
    """
    expected = jax.eval_shape(tx.init, params)
    wanted, treedef = jax.tree_util.tree_flatten_with_path(expected)
    found, trails = [], set()
    for path, like in wanted:
        trail, x = _follow(restored, expected, path)
        found.append(_checked(x, like, checks.path_name(path)))
        trails.add(trail)
    there = jax.tree_util.tree_leaves_with_path(restored)
    extra = [path for path, _ in there if tuple(map(_spelt, path)) not in trails]
    if extra:
        raise ValueError(
            f"mend: the restored state has a leaf at '{checks.path_name(extra[0])}' that init lacks; is it of this tx?"
        )
    return treedef.unflatten(found)


def _follow(restored: PyTree, expected: PyTree, path: tuple) -> tuple[tuple[str, ...], Any]:
    """Return the way to a leaf in the restored containers, and the leaf."""
    trail: list[str] = []
    for depth, key in enumerate(path):
        names = _names(key, expected)
        if not isinstance(restored, dict | list | tuple) and names[0] == "value" and depth == len(path) - 1:
            break  # flax's boxes, whose only child is the array
        name = next((name for name in names if _has(restored, name)), None)
        if name is None:
            at, like = checks.path_name(path), jax.tree.leaves(expected)[0]
            raise ValueError(
                f"mend: init has a leaf at '{at}', {checks.describe(like)}, that the restored state lacks;"
                f" it has a {type(restored).__name__} at '{checks.path_name(path[:depth])}'"
            )
        trail.append(name)
        restored, expected = _child(restored, name), _below(expected, key)
    return tuple(trail), restored


def _names(key: Any, node: Any) -> list[str]:
    """Return what a child may be called in the restored containers: its own name, and a field's position."""
    position = [str(node._fields.index(key.name))] if isinstance(key, GetAttrKey) and hasattr(node, "_fields") else []
    return [_spelt(key), *position]


def _has(node: Any, name: str) -> bool:
    if isinstance(node, dict):
        return any(str(key) == name for key in node)
    if name in getattr(node, "_fields", ()):
        return True
    return isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node)


def _child(node: Any, name: str) -> Any:
    if isinstance(node, dict):
        return next(x for key, x in node.items() if str(key) == name)
    return getattr(node, name) if name in getattr(node, "_fields", ()) else node[int(name)]


def _below(node: Any, key: Any) -> Any:
    """Return the child of an expected node."""
    if isinstance(key, GetAttrKey) and hasattr(node, key.name):
        return getattr(node, key.name)
    if isinstance(key, SequenceKey | DictKey):
        return node[key.idx if isinstance(key, SequenceKey) else key.key]
    children = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    return next(x for path, x in children if path == (key,))


def _checked(x: Any, like: jax.ShapeDtypeStruct, name: str) -> Any:
    """Return an array that came back, or a plain number as one; refuse another shape or dtype."""
    if isinstance(x, bool | int | float) and like.shape == () and np.asarray(x).dtype.kind == np.dtype(like.dtype).kind:
        return jnp.asarray(x, like.dtype)
    shape = getattr(x, "shape", None)
    if shape != like.shape or checks.dtype_of(x) != like.dtype:
        got = f"a {type(x).__name__}" if shape is None else checks.describe(x)
        raise ValueError(f"mend: the restored state has {got} at '{name}', init says {checks.describe(like)}")
    return jnp.asarray(x)


def _spelt(key: Any) -> str:
    return str(key.key) if isinstance(key, FlattenedIndexKey) else keystr((key,), simple=True)

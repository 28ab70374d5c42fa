"""The names of a tree's leaves, flax's boxes around them, and trees that are prefixes of others."""

from collections.abc import Callable
from typing import Any

import jax

from gradx import checks
from gradx.typing import PyTree


def paths(tree: PyTree) -> list[str]:
    """Return the names of the leaves, in order: `layer/kernel`; the `.value` of flax's boxes is left out.

    >>> from gradx import tree
    >>> tree.paths({"layer": {"kernel": 1.0, "bias": 2.0}})
    ['layer/bias', 'layer/kernel']
    """
    return [checks.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def map_with_path(f: Callable, tree: PyTree, *rest: PyTree) -> PyTree:
    """Apply `f(name, leaf, ...)` with the leaf's name spelt as in `paths`.

    Args:
      f: a function of a name and the leaves there.

    >>> from gradx import tree
    >>> tree.map_with_path(lambda name, leaf: f"{name}: {leaf}", {"layer": {"kernel": 1.0}})
    {'layer': {'kernel': 'layer/kernel: 1.0'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, *xs: f(checks.path_name(path), *xs), tree, *rest)


def unbox(tree: PyTree) -> PyTree:
    """Replace flax's single-array boxes (nnx variables, linen metadata) by their arrays.

    The parameters look the same then at init, where flax shows the boxes, and at update, where it does not.

    >>> from gradx import tree
    >>> tree.unbox({"w": 1.0})  # no boxes: as it is
    {'w': 1.0}
    """
    return jax.tree.map(lambda node: jax.tree.leaves(node)[0] if _is_box(node) else node, tree, is_leaf=_is_box)


def _is_box(node: Any) -> bool:
    if not type(node).__module__.startswith(("flax.", "gradx.")):
        return False  # a user's own module may have a field `value`
    children = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    if len(children) != 1 or children[0][1] is None:  # a box whose parameter a mask left out stays: a node, no leaf
        return False
    return children[0][0] == (jax.tree_util.GetAttrKey("value"),)


def broadcast(prefix: PyTree, tree: PyTree, what: str, is_leaf: Callable[[Any], bool] | None = None) -> PyTree:
    """Return `tree`'s structure with each leaf replaced by the leaf of `prefix` above it.

    Args:
      prefix: a tree whose leaves stand for whole subtrees.
      tree: the tree below.
      what: what errors call the prefix.
      is_leaf: whether a node of `prefix` is a leaf of it, as in `jax.tree.map`.

    >>> from gradx import tree
    >>> tree.broadcast({"a": 1, "b": 2}, {"a": {"w": 0.0, "v": 0.0}, "b": 0.0}, "labels")
    {'a': {'v': 1, 'w': 1}, 'b': 2}
    """
    try:
        return jax.tree.map(lambda leaf, node: jax.tree.map(lambda _: leaf, node), prefix, tree, is_leaf=is_leaf)
    except ValueError as error:
        names = f"{what} at {paths(prefix)}, parameters at {paths(tree)}"
        kinds = f"a {type(prefix).__name__} for a {type(tree).__name__}"
        raise ValueError(f"{what}: no prefix of the parameters, {kinds}: {names}") from error

"""What `optax.tree` does otherwise than `gradx.tree`: it goes by every name in a tree, those of parameters too."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import register_static

from gradx import tree
from gradx.typing import PyTree, State

KeyPath = tuple[Any, ...]
Filter = Callable[[KeyPath, Any], bool]


@dataclass(frozen=True)
class NamedTupleKey:
    """A step of a path into a NamedTuple."""

    tuple_name: str
    """The name of its class."""
    name: str
    """The field."""

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


@register_static
class Placeholder:
    """Stands for all parameters, so that an `init` shows where in its state something like them lies."""

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Placeholder)

    def __hash__(self) -> int:
        return hash(Placeholder)


def get_all_with_path(tree: PyTree, key: Any, filtering: Filter | None = None) -> list[tuple[KeyPath, Any]]:
    """Return `(path, value)` for everything under `key`: of a dict, a field, or a NamedTuple's class.

    >>> from gradx.compat.optax import tree_utils
    >>> [value for _, value in tree_utils.tree_get_all_with_path({"a": 1, "b": {"a": 2}}, "a")]
    [1, 2]
    """
    found = []

    def note(path: KeyPath, name: Any, value: Any) -> Any:
        if name == key and (filtering is None or filtering(path, value)):
            found.append((path, value))
        return value

    _walk(tree, note)
    return found


def get(tree: PyTree, key: Any, default: Any = None, filtering: Filter | None = None) -> Any:
    """Return the only value under `key`, or `default`; raises KeyError for more than one.

    >>> from gradx.compat.optax import tree_utils
    >>> tree_utils.tree_get({"a": 1, "b": 2}, "a")
    1
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        places = ", ".join(jax.tree_util.keystr(path) for path, _ in found)
        raise KeyError(f"Found multiple values for '{key}' in tree: {places}")
    return found[0][1] if found else default


def set(tree: PyTree, filtering: Filter | None = None, /, **kwargs: Any) -> PyTree:
    """Return the tree with other values under some names; raises KeyError for a name that is not there.

    >>> from gradx.compat.optax import tree_utils
    >>> tree_utils.tree_set({"a": 1, "b": 2}, a=3)
    {'a': 3, 'b': 2}
    """
    held = {}

    def change(path: KeyPath, name: Any, old: Any) -> Any:
        if name not in kwargs or not (filtering is None or filtering(path, old)):
            return old
        held[name] = None
        return kwargs[name]

    changed = _walk(tree, change)
    if missing := [name for name in kwargs if name not in held]:
        raise KeyError(f"Found no match for key '{missing[0]}' in the tree")
    return changed


def map_params(
    initable: Any,
    f: Callable[..., Any],
    state: State,
    /,
    *rest: Any,
    transform_non_params: Callable[..., Any] | None = None,
    is_leaf: Callable[[Any], bool] | None = None,
) -> State:
    """Apply `f` to what in a state is like the parameters, with the trees of `rest` beside it.

    Args:
      initable: a transformation, or its init.
      f: a function of the state's leaf and of those of `rest` in its place.
      rest: trees like the parameters.
      transform_non_params: applied to the other leaves, which else stay.
      is_leaf: as in `jax.tree.map`.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.ema(0.9)
    >>> optax.tree_utils.tree_map_params(tx, lambda x: "here", tx.init({"w": 1.0})).ema
    {'w': 'here'}
    """
    init = initable.init if hasattr(initable, "init") else initable
    skeleton, treedef = jax.tree.flatten(init(Placeholder()), is_leaf=is_placeholder)

    def convert(mark: Any, node: Any) -> Any:
        if is_placeholder(mark):
            return jax.tree.map(f, node, *rest, is_leaf=is_leaf)
        return transform_non_params(node) if transform_non_params else node

    return treedef.unflatten(list(map(convert, skeleton, treedef.flatten_up_to(state))))


def sum(tree: PyTree, associative_reduction: bool = False) -> jax.Array:
    """Return the sum of all entries.

    >>> from gradx.compat.optax import tree_utils
    >>> float(tree_utils.tree_sum({"a": 1.0, "b": 2.0}))
    3.0
    """
    del associative_reduction  # of the order of the leaves: the result is the same up to rounding
    total: Any = 0
    for x in jax.tree.leaves(tree):
        total = total + jnp.sum(x)
    return total


def unwrap_random_key_data(input_tree: PyTree) -> PyTree:
    """Return the tree with the data of its keys in their place.

    >>> from gradx.compat.optax import tree_utils
    >>> import jax
    >>> tree_utils.tree_unwrap_random_key_data({"key": jax.random.key(1)})["key"].dtype
    dtype('uint32')
    """
    return tree.unwrap_random_key_data(input_tree)


def _walk(node: Any, visit: Callable[[KeyPath, Any, Any], Any], path: KeyPath = ()) -> Any:
    """Rebuild a tree from what `visit(path, name, value)` returns; what it replaced is not entered."""
    named = hasattr(node, "_fields")
    if named and (new := visit(path, type(node).__name__, node)) is not node:
        return new
    below, treedef = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    if not below or below[0][0] == ():
        return node
    children = []
    for (key,), child in below:  # what stands at this level comes before what lies below
        name: Any = next((getattr(key, x) for x in ("name", "key", "idx") if hasattr(key, x)), None)
        under = (*path, NamedTupleKey(type(node).__name__, name) if named else key)
        children.append((under, child, child if hasattr(key, "idx") else visit(under, name, child)))
    return treedef.unflatten([_walk(old, visit, under) if new is old else new for under, old, new in children])


def is_placeholder(x: Any) -> bool:
    """Whether a tree of parameters is only a mark of where they belong."""
    return isinstance(x, Placeholder)


def add_scale(tree_x: PyTree, scalar: Any, tree_y: PyTree) -> PyTree:
    """Return x + scalar · y in the dtypes of x; what is added to integers makes floats of them.

    >>> from gradx.compat.optax import tree_utils
    >>> float(tree_utils.tree_add_scale(3, 0.5, 2))
    4.0
    """
    return tree.add_scale(jax.tree.map(_inexact, tree_x), scalar, tree_y)


def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x / y, as the leaves themselves divide.

    >>> from gradx.compat.optax import tree_utils
    >>> float(tree_utils.tree_div({"a": 1.0}, {"a": 2.0})["a"])
    0.5
    """
    return jax.tree.map(operator.truediv, tree_x, tree_y)


def vdot(tree_x: PyTree, tree_y: PyTree) -> Any:
    """Return the sum of conj(x) · y, by `jnp.vdot` where no mesh with explicit axes forbids it.

    >>> from gradx.compat.optax import tree_utils
    >>> float(tree_utils.tree_vdot({"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}))
    11.0
    """
    x, y = (jax.tree.map(jnp.asarray, z) for z in (tree_x, tree_y))
    if any(axis is not None for leaf in jax.tree.leaves((x, y)) for axis in jax.typeof(leaf).sharding.spec):
        return tree.vdot(x, y)
    products = jax.tree.map(lambda a, b: jnp.vdot(a, b, precision=jax.lax.Precision.HIGHEST), x, y)
    return jax.tree.reduce(operator.add, products, initializer=0)


def _inexact(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)

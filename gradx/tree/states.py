"""Find, set and map what an optimizer's state holds, going by the state's own fields.

The names that a user gave to parameters are never looked at: a parameter called `count` is no counter.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

from gradx import checks
from gradx.typing import Params, PyTree, State, TreeKind

KeyPath = tuple[Any, ...]
Filter = Callable[[KeyPath, Any], bool]


def get(tree: State, key: str, default: Any = None, filtering: Filter | None = None) -> Any:
    """Return the only value that a state keeps under `key`, or `default` when there is none.

    Args:
      tree: the state of an optimizer, or a tuple or dict of such states.
      key: a field of a state ("mu", "count"), the name of a state class ("ScaleByAdamState"), an injected
        hyperparameter, or a label of `partition` or `named_chain`.
      default: returned when nothing has that name. A learning rate that is not injected is no part of the state:
        `gradx.hyperparams(tx, state)` reads it.
      filtering: `filtering(path, value)` says which matches count; `path` is a tuple of JAX's key entries.

    Raises KeyError when several values match, naming their places: say which with `filtering`.

    >>> import gradx
    >>> state = gradx.adam(0.1).init({"count": 1.0})
    >>> int(gradx.tree.get(state, "count"))
    0
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        places = ", ".join(f"'{checks.path_name(path)}'" for path, _ in found)
        raise KeyError(f"{key!r} is in more than one place: {places}; choose with filtering")
    return found[0][1] if found else default


def get_all_with_path(tree: State, key: str, filtering: Filter | None = None) -> list[tuple[KeyPath, Any]]:
    """Return `(path, value)` for every value that a state keeps under `key`, in order.

    Arguments as in `get`.

    A value that lies inside another match (a state in a state of the same class) is listed too.

    >>> from gradx import tree
    >>> import gradx
    >>> state = gradx.chain(gradx.ema(0.9), gradx.adam(0.1)).init({"w": 1.0})
    >>> [int(value) for _, value in tree.get_all_with_path(state, "count")]
    [0, 0]
    """
    found = []

    def note(path: KeyPath, name: str, value: Any) -> Any:
        if name == key and (filtering is None or filtering(path, value)):
            found.append((path, value))
        return value

    _walk(tree, note)
    return found


def set(tree: State, filtering: Filter | None = None, /, **values: Any) -> State:
    """Return the state with other values under some names, wherever it keeps them; names and filter as in `get`.

    A new value takes the dtype of the old one, leaf by leaf: a state's structure, shapes and dtypes never change.

    Args:
      tree: the state of an optimizer, or a tuple or dict of such states.
      filtering: as in `get`.
      **values: new values by the names.

    Raises KeyError when a name is not there, ValueError when structure or shape differ from the old value's.

    >>> import gradx
    >>> state = gradx.adam(0.1).init({"count": 1.0})
    >>> state = gradx.tree.set(state, count=10)
    >>> int(gradx.tree.get(state, "count")), float(gradx.tree.get(state, "mu")["count"])
    (10, 0.0)
    """
    held: dict[str, None] = {}

    def change(path: KeyPath, name: str, old: Any) -> Any:
        if name not in values or not (filtering is None or filtering(path, old)):
            return old
        held[name] = None
        checks.same_leaves("tree.set", f"the new {name}", values[name], old, "the state", dtypes=False)
        return jax.tree.map(lambda new, x: jnp.asarray(new, x.dtype), values[name], old)

    changed = _walk(tree, change)
    if missing := [name for name in values if name not in held]:
        raise KeyError(f"tree.set: the state keeps nothing under {missing[0]!r}")
    return changed


def map_params(
    tx: Any,
    f: Callable[..., Any],
    state: State,
    params: Params,
    *rest: PyTree,
    transform_non_params: Callable[[Any], Any] | None = None,
) -> State:
    """Apply `f(leaf, param, ...)` to every leaf of a state that belongs to a parameter, with what belongs to it.

    Which leaves those are is not guessed from shapes or names: `tx.init` runs abstractly on parameters that carry a
    mark, and a leaf made from a parameter carries that mark. So the parameters are asked for, as `init` was.

    Args:
      tx: the transformation that made the state, of gradx or not.
      f: a function of the state's leaf and of the leaves of `params` and `rest` for the same parameter.
      state: the state; moments, averages and copies are leaves of parameters, counts and keys are not.
      params: the parameters, or their shapes (`jax.ShapeDtypeStruct`).
      *rest: trees with the structure of `params` whose leaves may be anything: shardings, say.
      transform_non_params: applied to the other leaves, which else stay.

    >>> import gradx
    >>> tx, params = gradx.adam(0.1), {"count": 1.0, "w": 2.0}
    >>> names = {"count": "c", "w": "w"}
    >>> gradx.tree.map_params(tx, lambda leaf, param, name: name, tx.init(params), params, names)[0].mu
    {'count': 'c', 'w': 'w'}
    """
    leaves, treedef = jax.tree.flatten(params)
    columns = [leaves, *(treedef.flatten_up_to(other) for other in rest)]
    rows = list(zip(*columns, strict=True))
    skeleton, state_def = jax.tree.flatten(marked_init(tx, params), is_leaf=is_marked)

    def convert(mark: Any, node: Any) -> Any:
        if is_marked(mark):
            return jax.tree.map(lambda leaf: f(leaf, *rows[mark.index]), node)
        return transform_non_params(node) if transform_non_params else node

    return state_def.unflatten(list(map(convert, skeleton, state_def.flatten_up_to(state))))


def marked_init(tx: Any, params: Params) -> State:
    """Return the shapes of the state of `tx`, what is made from a parameter in a box that says which one it is."""
    leaves, treedef = jax.tree.flatten(params)
    return jax.eval_shape(tx.init, treedef.unflatten([Marked(x, i) for i, x in enumerate(leaves)]))


@jax.tree_util.register_pytree_with_keys_class
class Marked:
    """A parameter in a box that says which one it is; to path names the box is one of flax's."""

    def __init__(self, value: Any, index: int) -> None:
        self.value, self.index = value, index

    def tree_flatten_with_keys(self) -> tuple:
        """Return the parameter under flax's key, and which it is."""
        return ((GetAttrKey("value"), self.value),), self.index

    @classmethod
    def tree_unflatten(cls, index: int, children: tuple) -> "Marked":
        """Return the parameter in its box."""
        return cls(children[0], index)


def is_marked(x: Any) -> bool:
    """Whether `x` is a parameter in its box."""
    return isinstance(x, Marked)


def _walk(node: Any, visit: Callable[[KeyPath, str, Any], Any], path: KeyPath = (), own: bool = True) -> Any:
    """Rebuild a state from what `visit(path, name, value)` returns for each thing that it keeps under a name.

    Names are the fields and classes of NamedTuples and, where `own` holds, the keys of dicts. What `visit` replaced is
    not entered, nor a field that is annotated as a tree of parameters.
    """
    if (fields := getattr(node, "_fields", None)) is not None:
        if (new := visit(path, type(node).__name__, node)) is not node:
            return new
        kinds = _kinds(type(node))
        below = {name: (*path, GetAttrKey(name)) for name in fields}
        return type(node)(**{x: _enter(getattr(node, x), visit, below[x], x, kinds.get(x)) for x in fields})
    if isinstance(node, tuple | list):
        return type(node)(_walk(x, visit, (*path, SequenceKey(i)), own) for i, x in enumerate(node))
    if isinstance(node, dict):
        if own:
            return {k: _enter(x, visit, (*path, DictKey(k)), k, TreeKind.STATE) for k, x in node.items()}
        return {k: _walk(x, visit, (*path, DictKey(k)), own) for k, x in node.items()}
    return node


def _enter(value: Any, visit: Callable, path: KeyPath, name: str, kind: TreeKind | None) -> Any:
    new = visit(path, name, value)
    if new is not value or kind is TreeKind.PARAMETERS:
        return new
    return _walk(value, visit, path, own=kind is TreeKind.STATE)


@functools.cache
def _kinds(cls: type) -> dict[str, TreeKind]:
    """Return for each field of a state class whose names lie below it; a field that does not say is left out."""
    try:
        hints = inspect.get_annotations(cls, eval_str=True)
    except NameError:  # another library's annotations may not resolve
        return {}
    found = {name: _kind(hint) for name, hint in hints.items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _kind(hint: Any) -> TreeKind | None:
    if isinstance(origin := typing.get_origin(hint), type) and issubclass(origin, Mapping):
        return TreeKind.STATE  # a dict by label
    marks = [x for part in (hint, *typing.get_args(hint)) for x in getattr(part, "__metadata__", ())]
    return next((x for x in marks if isinstance(x, TreeKind)), None)

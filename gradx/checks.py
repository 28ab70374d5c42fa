"""Checks of arguments and of trees, and the words they fail with.

Every message names the transformation, the value or leaf at fault, what was expected, and the cure where there is one.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx.typing import PyTree, Range


def hyperparameter(owner: str, name: str, value: Any, allowed: Range) -> Any:
    """Return `value`, a Python int made a float where a real is meant; refuse a concrete number out of range.

    Arrays, tracers and schedules pass: their value is not known, or not one number.
    """
    if callable(value) and allowed.schedule:
        return value
    if _is_array(value) and not allowed.integer:
        return value if jnp.issubdtype(dtype_of(value), jnp.inexact) else jnp.asarray(value, float)
    number = _as_number(value)
    if number is None or (allowed.integer and number != int(number)):
        kind = "an integer" if allowed.integer else "a number or a schedule" if allowed.schedule else "a number"
        raise TypeError(f"{owner}: {name} must be {kind}, got {value!r}")
    if not allowed.holds(number):
        raise ValueError(f"{owner}: {name} must be in {allowed}, got {value!r}")
    if allowed.integer:
        return int(number)
    return number if isinstance(value, int | np.integer | np.float64 | np.ndarray) else value


def one_number(owner: str, name: str, value: Any) -> jax.Array:
    """Return an extra that must be one number, the loss say, as an array of at least float32."""
    if np.ndim(value) != 0 or not jnp.issubdtype(dtype_of(value), jnp.number) or jnp.iscomplexobj(value):
        raise TypeError(f"{owner}: {name} must be one real number, got {describe(value)}")
    dtype = dtype_of(value)
    is_wide = jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize >= 4
    return jnp.asarray(value) if is_wide else jnp.asarray(value, jnp.float32)


def _as_number(x: Any) -> float | None:
    is_real = isinstance(x, numbers.Real | np.ndarray) and not isinstance(x, bool)
    return float(x) if is_real and np.asarray(x).dtype != bool else None


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array) or (isinstance(x, np.ndarray) and x.ndim > 0)


def path_name(path: tuple) -> str:
    """Spell a key path as `layer/kernel`.

    Flax boxes a parameter in a container whose only child sits under `.value`; the box is there at init and gone at
    update, so its key is left out of the name.
    """
    if path and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")


def is_function(x: Any) -> bool:
    """Whether `x` is to be called: a callable that is no pytree (a module used as a mask is data, not a function)."""
    return callable(x) and jax.tree_util.all_leaves([x])


def dtype_of(x: Any) -> np.dtype:
    """Return the dtype of an array or number, `float0` included."""
    return x.dtype if hasattr(x, "dtype") else jnp.result_type(x)


def describe(x: Any) -> str:
    """Say dtype and shape of a leaf: `float32[3,4]`."""
    return f"{dtype_of(x)}[{','.join(map(str, np.shape(x)))}]"


def same_leaves(
    owner: str, what: str, tree: PyTree, expected: PyTree, source: str, *, dtypes: bool, containers: str = ""
) -> None:
    """Raise ValueError unless both trees have the same leaves: paths, shapes and, where asked, dtypes.

    `None` in `tree` stands for a leaf that is left out. With `containers`, the cure to name, the leaves must lie in
    the same containers too: a dict with a NamedTuple's names is none.
    """
    if _signature(tree, dtypes) == _signature(expected, dtypes):  # names are slow to spell, and wanted only in messages
        return
    got, left_out = _named_leaves(tree), _names_of_none(tree)
    want = [(name, leaf) for name, leaf in _named_leaves(expected) if name not in left_out]
    if (names := [name for name, _ in got]) != (wanted := [name for name, _ in want]):
        extra = next((name for name in names if name not in set(wanted)), None)
        missing = next((name for name in wanted if name not in set(names)), None)
        parts = [f"{what} has a leaf at '{extra}' that {source} lacks"] if extra is not None else []
        parts += [f"{source} has a leaf at '{missing}' that {what} lacks"] if missing is not None else []
        if parts:
            raise ValueError(f"{owner}: {'; '.join(parts)}")
    difference = _first_difference(jax.tree.structure(tree), jax.tree.structure(expected)) if containers else None
    if difference:
        fault = f"{what} differs in structure: a {difference[0]} where {source} has a {difference[1]}"
        raise ValueError(f"{owner}: {fault}; {containers}")
    if names != wanted:
        raise ValueError(f"{owner}: {what} has {len(names)} leaves in another order than {source}, {len(wanted)}")
    for (name, leaf), (_, other) in zip(got, want, strict=True):
        if np.shape(leaf) != np.shape(other) or (dtypes and dtype_of(leaf) != dtype_of(other)):
            message = f"{what} at '{name}' is {describe(leaf)}, but {source} says {describe(other)}"
            raise ValueError(f"{owner}: {message}")


def differentiable(owner: str, updates: PyTree) -> None:
    """Raise TypeError for a gradient leaf that is an integer or a bool; `float0`, JAX's mark of none, is let pass."""
    dtypes = {dtype_of(x) for x in jax.tree.leaves(updates)}
    wrong = {d for d in dtypes if not jnp.issubdtype(d, jnp.inexact) and d != jax.dtypes.float0}
    for name, leaf in _named_leaves(updates) if wrong else ():
        if dtype_of(leaf) in wrong:
            cure = "differentiate with allow_int=True, or leave it out with gradx.partition or None"
            raise TypeError(f"{owner}: the gradient at '{name}' is {describe(leaf)}, no float; {cure}")


def real_for_real(owner: str, updates: PyTree, params: PyTree) -> None:
    """Raise TypeError for a complex gradient of a real parameter."""
    parameters = dict(_named_leaves(params))
    for name, leaf in _named_leaves(updates) if any(map(jnp.iscomplexobj, jax.tree.leaves(updates))) else ():
        if jnp.iscomplexobj(leaf) and not jnp.iscomplexobj(parameters[name]):
            raise TypeError(f"{owner}: the gradient at '{name}' is {describe(leaf)}, the parameter real: take its part")


def some_gradient(owner: str, updates: PyTree, params: PyTree) -> None:
    """Raise TypeError when there are parameters and no gradient at all: a loss that forgot to return them."""
    if updates is None and any(jnp.size(x) for x in jax.tree.leaves(params)):
        raise TypeError(f"{owner}: the gradient is None, and nothing would be trained; was it returned?")


def _first_difference(got: Any, wanted: Any) -> tuple[str, str] | None:
    """Return the names of the first two types of containers that differ; a leaf left out is no difference."""
    one, other = got.node_data(), wanted.node_data()
    if one is None or other is None:
        return None
    if one[0] is not other[0] and not _is_list_in_nnx(one[0], other[0]):
        return None if type(None) in (one[0], other[0]) else (one[0].__name__, other[0].__name__)
    pairs = zip(got.children(), wanted.children(), strict=False)
    return next((found for a, b in pairs if (found := _first_difference(a, b))), None)


def _is_list_in_nnx(got: type, wanted: type) -> bool:
    """Whether a list is where flax's nnx keeps it: in a State with numbers for keys."""
    return is_state_of_nnx(got) and wanted in (list, tuple)


def is_state_of_nnx(kind: type) -> bool:
    """Whether `kind` is the mapping in which flax's nnx keeps parameters, and makes one of every node inside."""
    return kind.__name__ == "State" and kind.__module__.startswith("flax.nnx")


def _names_of_none(tree: PyTree) -> set[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda x: x is None)
    return {path_name(path) for path, leaf in leaves if leaf is None}


def _signature(tree: PyTree, dtypes: bool) -> tuple:
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, [np.shape(x) for x in leaves], [dtype_of(x) for x in leaves] if dtypes else None


def _named_leaves(tree: PyTree) -> list[tuple[str, Any]]:
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]

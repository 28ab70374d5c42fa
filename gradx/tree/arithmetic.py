"""Arithmetic on trees, leaf by leaf."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks
from gradx.tree.mapping import map_leaves
from gradx.typing import PyTree


def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """Return x + y + ..., with JAX's promotion of dtypes.

    Args:
      *other_trees: more of the same structure.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.add({"w": 1.0}, {"w": 2.0}, {"w": 3.0}))
    {'w': 6.0}
    """
    return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), tree_x, tree_y, *other_trees)


def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x - y, with JAX's promotion of dtypes.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.sub({"w": 3.0}, {"w": 4.0}))
    {'w': -1.0}
    """
    return jax.tree.map(jnp.subtract, tree_x, tree_y)


def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x * y, with JAX's promotion of dtypes.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.mul({"w": 3.0}, {"w": 4.0}))
    {'w': 12.0}
    """
    return jax.tree.map(jnp.multiply, tree_x, tree_y)


def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x / y, with JAX's promotion of dtypes; a division by zero gives infinity or NaN.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.div({"w": 1.0}, {"w": 4.0}))
    {'w': 0.25}
    """
    return jax.tree.map(jnp.divide, tree_x, tree_y)


def scale(scalar: ArrayLike, tree: PyTree) -> PyTree:
    """Return scalar * x for every leaf x, in the leaf's own dtype.

    Raises TypeError for a complex scalar and a real leaf.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.scale(0.5, {"w": 4.0}))
    {'w': 2.0}
    """
    _refuse_complex("scale", tree, scalar)
    return map_leaves(_scale_leaf, tree, scalar=scalar)


def _scale_leaf(x: jax.Array, *, scalar: jax.Array) -> jax.Array:
    return scalar * x


def _refuse_complex(owner: str, tree: PyTree, scalar: ArrayLike, other: PyTree = None) -> None:
    """Raise TypeError, naming the first, where a real leaf would take what is complex."""
    if not any(map(jnp.iscomplexobj, (scalar, *jax.tree.leaves(other)))):
        return

    def refuse(path: tuple, leaf: ArrayLike, added: ArrayLike = 0.0) -> None:
        if not jnp.iscomplexobj(leaf) and (jnp.iscomplexobj(scalar) or jnp.iscomplexobj(added)):
            place = f" at '{checks.path_name(path)}'" if path else ""
            raise TypeError(f"tree.{owner}: {checks.describe(leaf)}{place} is real, and what it takes is complex")

    jax.tree_util.tree_map_with_path(refuse, tree, *(() if other is None else (other,)))


def add_scale(tree_x: PyTree, scalar: ArrayLike, tree_y: PyTree) -> PyTree:
    """Return x + scalar * y, computed in the wider precision of both and stored in the dtypes of `tree_x`.

    Raises TypeError for a real x and a complex scalar or y.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.add_scale({"w": 1.0}, 0.5, {"w": 4.0}))
    {'w': 3.0}
    """
    _refuse_complex("add_scale", tree_x, scalar, tree_y)
    return map_leaves(_add_scale_leaf, tree_x, tree_y, scalar=scalar)


def _add_scale_leaf(x: jax.Array, y: jax.Array, *, scalar: jax.Array) -> jax.Array:
    return x + scalar * y


def clip(tree: PyTree, min_value: ArrayLike | None = None, max_value: ArrayLike | None = None) -> PyTree:
    """Return the entries moved into [min_value, max_value], in the leaf's own dtype; `None` is no bound.

    Args:
      min_value: the least that is left.
      max_value: the most that is left.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.clip({"w": -3.0, "b": 0.5}, -1.0, 1.0))
    {'b': 0.5, 'w': -1.0}
    """
    bounds = {name: x for name, x in (("low", min_value), ("high", max_value)) if x is not None}
    return map_leaves(_clip_leaf, tree, **bounds) if bounds else tree


def _clip_leaf(x: jax.Array, *, low: ArrayLike | None = None, high: ArrayLike | None = None) -> jax.Array:
    return jnp.clip(x, _within_range(low, x.dtype), _within_range(high, x.dtype))


def _within_range(bound: ArrayLike | None, dtype: jnp.dtype) -> ArrayLike | None:
    """Return an integer bound moved into the range of an integer dtype, in which it would wrap round."""
    if not isinstance(bound, int | np.integer) or not jnp.issubdtype(dtype, jnp.integer):
        return bound
    limits = jnp.iinfo(dtype)
    return min(max(int(bound), limits.min), limits.max)


def conj(tree: PyTree) -> PyTree:
    """Return the complex conjugates; real leaves stay.

    >>> from gradx import tree
    >>> complex(tree.conj({"w": 1.0 + 2.0j})["w"])
    (1-2j)
    """
    return jax.tree.map(jnp.conj, tree)


def real(tree: PyTree) -> PyTree:
    """Return the real parts, in real dtypes.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.real({"w": 1.0 + 2.0j}))
    {'w': 1.0}
    """
    return jax.tree.map(jnp.real, tree)


def where(condition: ArrayLike, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return the leaves of `tree_x` where the scalar `condition` holds, else those of `tree_y`; never 0 * NaN.

    Args:
      condition: bool[], traced too; one for the whole tree.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.where(True, {"w": 1.0}, {"w": float("nan")}))
    {'w': 1.0}
    """
    return jax.tree.map(functools.partial(jnp.where, condition), tree_x, tree_y)

"""Dtypes of leaves: cast them, read them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from gradx import checks, numerics
from gradx.typing import PyTree


def cast(tree: PyTree, dtype: DTypeLike | None) -> PyTree:
    """Cast the floating leaves to `dtype`; `None` leaves the tree as it is.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> str(tree.cast({"w": 1.0}, jnp.bfloat16)["w"].dtype)
    'bfloat16'
    """
    if dtype is None:
        return tree

    def to(x: ArrayLike) -> jax.Array:
        x = jnp.asarray(x)
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    return jax.tree.map(to, tree)


def cast_like(tree: PyTree, other_tree: PyTree) -> PyTree:
    """Cast each leaf to the dtype of the leaf of `other_tree` in its place.

    Args:
      other_tree: of the same structure, for its dtypes.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> str(tree.cast_like({"w": 1.0}, {"w": jnp.bfloat16(0)})["w"].dtype)
    'bfloat16'
    """
    return jax.tree.map(lambda x, y: jnp.asarray(x).astype(jnp.result_type(y)), tree, other_tree)


def lift(tree: PyTree) -> PyTree:
    """Cast low-precision floats to float32; other leaves stay.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> str(tree.lift({"w": jnp.bfloat16(1)})["w"].dtype)
    'float32'
    """
    return jax.tree.map(numerics.lift, tree)


def dtype(tree: PyTree, mixed_dtype_handler: str | None = None) -> np.dtype:
    """Return the dtype of the leaves; JAX's default float for a tree without leaves.

    Args:
      tree: leaves with dtypes.
      mixed_dtype_handler: what to return when they differ: "promote" (the dtype that holds them all), "lowest" or
        "highest" (the first and the last of them in JAX's order of promotion); `None` refuses.

    Raises ValueError for mixed dtypes without a handler, naming two leaves, and where no dtype is lowest or highest.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> trees = {"w": jnp.bfloat16(1), "b": jnp.float32(1)}
    >>> str(tree.dtype(trees, "promote"))
    'float32'
    """
    named = [(checks.path_name(path), checks.dtype_of(x)) for path, x in jax.tree_util.tree_leaves_with_path(tree)]
    found = list(dict.fromkeys(found for _, found in named)) or [jnp.dtype(jnp.result_type(float))]
    if mixed_dtype_handler not in (None, "promote", "lowest", "highest"):
        raise ValueError(
            f"tree.dtype: mixed_dtype_handler must be promote, lowest, highest or None, got {mixed_dtype_handler!r}"
        )
    if len(found) == 1:
        return found[0]
    if mixed_dtype_handler is None:
        first, other = named[0], next(pair for pair in named if pair[1] != found[0])
        raise ValueError(
            f"tree.dtype: '{first[0]}' is {first[1]}, '{other[0]}' is {other[1]}; give mixed_dtype_handler"
        )
    if mixed_dtype_handler == "promote":
        return jnp.dtype(jnp.result_type(*found))
    lowest = mixed_dtype_handler == "lowest"
    for one in found:
        if all(jnp.promote_types(one, other) == (other if lowest else one) for other in found):
            return one
    raise ValueError(f"tree.dtype: none of {', '.join(map(str, found))} is the {mixed_dtype_handler}")


def real_dtype(tree: PyTree) -> np.dtype:
    """Return the real dtype that holds every leaf's precision, at least float32: that of scalars made from all of them.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> str(tree.real_dtype({"w": jnp.bfloat16(1), "v": 1.0 + 2.0j}))
    'float32'
    """
    dtypes = [jnp.finfo(numerics.at_least_float32(jnp.result_type(x))).dtype for x in jax.tree.leaves(tree)]
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float32))


def unwrap_random_key_data(tree: PyTree) -> PyTree:
    """Replace typed PRNG keys by their integers, which can be compared and stored; other leaves stay.

    >>> from gradx import tree
    >>> import jax
    >>> tree.unwrap_random_key_data({"key": jax.random.key(0)})["key"].tolist()
    [0, 0]
    """
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, tree)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(checks.dtype_of(x), jax.dtypes.prng_key)

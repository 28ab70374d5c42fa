"""What the projections share: the precision they compute in, the dtypes they return, the checks of arguments."""

import functools
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, numerics, tree as tree_
from gradx.typing import PyTree


def lift(owner: str, tree: PyTree) -> PyTree:
    """Return the leaves as arrays of one dtype, the widest among them and float32 at least; refuse complex ones."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            place = f" at '{checks.path_name(path)}'" if path else ""
            raise TypeError(f"{owner}: the set is one of real points, got {checks.describe(leaf)}{place}")
    dtype = working_dtype(tree)
    return jax.tree.map(lambda x: jnp.asarray(x).astype(dtype), tree)


def working_dtype(tree: PyTree) -> jnp.dtype:
    """Return the dtype in which `lift` gives the leaves."""
    dtypes = [numerics.at_least_float32(jnp.result_type(leaf)) for leaf in jax.tree.leaves(tree)]
    return functools.reduce(jnp.promote_types, dtypes, jnp.dtype(jnp.float32))


def store(projected: PyTree, tree: PyTree) -> PyTree:
    """Cast each projected leaf to the dtype of the leaf that it came from; what came from an integer stays a float."""

    def cast(new: jax.Array, old: ArrayLike) -> jax.Array:
        dtype = jnp.result_type(old)
        return new.astype(dtype) if jnp.issubdtype(dtype, jnp.floating) else new

    return jax.tree.map(cast, projected, tree)


def scalar(owner: str, name: str, value: Any, dtype: jnp.dtype, *, minimum: float = -np.inf) -> jax.Array:
    """Return `value` as a scalar array; refuse another shape, and a concrete number below `minimum` or NaN."""
    if np.shape(value) != ():
        raise ValueError(f"{owner}: {name} must be a scalar, got {checks.describe(value)}")
    refuse_below(owner, name, value, minimum)
    return jnp.asarray(value).astype(dtype)


def refuse_below(owner: str, name: str, value: Any, minimum: float) -> None:
    """Raise ValueError for a Python number or NumPy array below `minimum`; what may be traced is not looked at."""
    if isinstance(value, numbers.Real | np.ndarray) and not np.all(np.asarray(value, np.float64) >= minimum):
        raise ValueError(f"{owner}: {name} must be at least {minimum:g}, got {value!r}")


def refuse_empty(owner: str, tree: PyTree) -> None:
    """Raise ValueError for a tree without entries, for sets that hold no point of no entries."""
    if tree_.size(tree) == 0:
        raise ValueError(f"{owner}: the tree has no entries, and the set no point without entries")


def unit(tree: PyTree) -> jax.Array:
    """Return about the largest |entry|, a constant by which to divide before squaring; 1 where all are zeros.

    It keeps off the ends of the range: XLA divides by multiplying with the reciprocal, which must be a normal number.
    """
    limits, top = jnp.finfo(working_dtype(tree)), peak(jax.tree.map(jnp.abs, tree))
    return jnp.where(top > 0, jnp.clip(top, limits.tiny * 256, limits.max / 256), 1)


def peak(tree: PyTree) -> jax.Array:
    """Return the largest entry of all leaves as a constant for differentiation; 0 for an empty tree."""
    tops = [jnp.max(leaf) for leaf in jax.tree.leaves(tree) if leaf.size]
    top = functools.reduce(jnp.maximum, tops) if tops else jnp.zeros((), working_dtype(tree))
    return jax.lax.stop_gradient(top)

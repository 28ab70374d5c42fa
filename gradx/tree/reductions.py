"""One number of all entries of a tree. Sums are gathered in at least float32; an empty tree sums to 0."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.tree.mapping import map_leaves
from gradx.typing import PyTree


def vdot(tree_x: PyTree, tree_y: PyTree) -> jax.Array:
    """Return sum(conj(x) * y) over all leaves, in at least float32.

    >>> from gradx import tree
    >>> float(tree.vdot({"w": 2.0, "b": 1.0}, {"w": 3.0, "b": 4.0}))
    10.0
    """
    return _total(jax.tree.map(lambda a, b: jnp.sum(jnp.conj(_float(a)) * _float(b)), tree_x, tree_y))


def sum(tree: PyTree) -> jax.Array:
    """Return the sum of all entries, in at least float32.

    >>> from gradx import tree
    >>> float(tree.sum({"w": 1.0, "b": 2.0}))
    3.0
    """
    return _total(jax.tree.map(lambda x: jnp.sum(_float(x)), tree))


def norm(tree: PyTree, ord: int | float | str | None = None, squared: bool = False) -> jax.Array:
    """Return the norm of all entries as one vector: real, in at least float32.

    Args:
      tree: real or complex leaves.
      ord: 2 or `None` for the Euclidean norm, 1 for the sum of |x|, "inf" or infinity for the largest |x|.
      squared: whether to return the square, for the Euclidean norm without a root.

    The derivative of the Euclidean norm at a zero vector is 0. Raises ValueError for another `ord`.

    >>> from gradx import tree
    >>> float(tree.norm({"w": 3.0, "b": 4.0}))
    5.0
    """
    if ord in (None, 2):
        total = _total(jax.tree.map(_sum_sq, tree))
        return total if squared else numerics.safe_sqrt(total)
    if ord == 1:
        length = sum(jax.tree.map(_abs, tree))
    elif ord in ("inf", math.inf):
        length = jnp.maximum(max(jax.tree.map(_abs, tree)), 0)
    else:
        raise ValueError(f"tree.norm: ord must be None, 1, 2 or 'inf', got {ord!r}")
    return length * length if squared else length


def total(rule: Callable, first: PyTree, *rest: PyTree, **hyper: Any) -> jax.Array:
    """Return the sum of `rule(x, y, ..., **hyper)`, one real number for each leaf; 0 for a tree without leaves.

    Args:
      rule: a function of arrays, as for `map_leaves`.
      first: the tree that says where leaves are; what is `None` in it adds nothing.
      *rest: trees of the same structure.
      **hyper: what the rule takes by name.

    >>> from gradx import tree
    >>> float(tree.total(lambda x, y: (x - y).sum(), {"w": 3.0, "b": None}, {"w": 1.0, "b": 5.0}))
    2.0
    """
    return jnp.real(_total(map_leaves(rule, first, *rest, **hyper)))


def _float(x: ArrayLike) -> jax.Array:
    """Return `x` in at least float32, integers too: sums and products of them would wrap round."""
    return numerics.cast(x, numerics.at_least_float32(jnp.result_type(x)))


@jax.jit
def _sum_sq(x: jax.Array) -> jax.Array:
    return jnp.sum(numerics.abs_sq(_float(x)))


def _abs(x: ArrayLike) -> jax.Array:
    lifted = _float(x)
    return numerics.safe_sqrt(numerics.abs_sq(lifted)) if jnp.iscomplexobj(lifted) else jnp.abs(lifted)


def max(tree: PyTree) -> jax.Array:
    """Return the largest entry, in the common dtype of the leaves; -inf when there is none, NaN when one is NaN.

    >>> from gradx import tree
    >>> float(tree.max({"w": 1.0, "b": 2.0}))
    2.0
    """
    return _extreme(jnp.max, jnp.maximum, tree, -math.inf)


def min(tree: PyTree) -> jax.Array:
    """Return the smallest entry, in the common dtype of the leaves; inf when there is none, NaN when one is NaN.

    >>> from gradx import tree
    >>> float(tree.min({"w": 1.0, "b": 2.0}))
    1.0
    """
    return _extreme(jnp.min, jnp.minimum, tree, math.inf)


def _extreme(of_leaf, of_two, tree: PyTree, of_nothing: float) -> jax.Array:
    leaves = [of_leaf(jnp.asarray(x)) for x in jax.tree.leaves(tree) if jnp.size(x)]
    dtype = functools.reduce(jnp.promote_types, [x.dtype for x in leaves]) if leaves else jnp.float32
    return functools.reduce(of_two, [x.astype(dtype) for x in leaves]) if leaves else jnp.asarray(of_nothing, dtype)


def _total(scalars: PyTree) -> jax.Array:
    leaves = jax.tree.leaves(scalars)
    dtype = functools.reduce(jnp.promote_types, [leaf.dtype for leaf in leaves], jnp.dtype(jnp.float32))
    return functools.reduce(jnp.add, [leaf.astype(dtype) for leaf in leaves], jnp.zeros((), dtype))


def size(tree: PyTree) -> int:
    """Return the number of entries of all leaves together.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> int(tree.size({"w": jnp.ones((2, 3)), "b": 1.0}))
    7
    """
    return int(math.fsum(jnp.size(leaf) for leaf in jax.tree.leaves(tree)))


def allclose(
    a: PyTree, b: PyTree, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False
) -> jax.Array:
    """Return whether |a - b| <= atol + rtol * |b| at every entry: bool[], also under `jit`.

    Args:
      a, b: trees of one structure.
      rtol: share of |b|.
      atol: added to it.
      equal_nan: whether NaN equals NaN.

    Raises ValueError when the trees differ in structure or shapes, naming the leaf.

    >>> from gradx import tree
    >>> bool(tree.allclose({"w": 1.0}, {"w": 1.0 + 1e-6}))
    True
    """
    checks.same_leaves("tree.allclose", "a", a, b, "b", dtypes=False)
    close = jax.tree.map(lambda x, y: jnp.allclose(x, y, rtol, atol, equal_nan), a, b)
    return functools.reduce(jnp.logical_and, jax.tree.leaves(close), jnp.array(True))

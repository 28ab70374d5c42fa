"""Arithmetic on pytrees of arrays, and `map_leaves`, which carries a leaf rule over them.

`None` is no leaf: a tree may have `None` where another has an array only in `map_leaves`, which says what it means.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from gradx import checks, numerics
from gradx.typing import PyTree


def map_leaves(rule: Callable, first: PyTree, *rest: PyTree, **hyper: Any) -> Any:
    """Apply `rule(x, y, ..., **hyper)` to the leaves of `first` and of the trees beside it.

    Returns one tree for each array that the rule returns; a rule that returns one array gives one tree.

    * Leaves are computed with in the widest precision among them, float32 at least, hyperparameters included; the i-th
      result is stored in the dtype of the i-th tree. So the trees that a rule renews come first, in the order of its
      results, and those that it only reads come last.
    * Where `first` is `None` there is no gradient: the first result is `None` there, the others keep what was stored.
    * Arrays in `hyper` may be traced; Python numbers and everything else in it are constants of the compiled rule. A
      leaf of another tree may be a node (a pair, say): the rule gets it whole.
    * The rule is traced once for each shape, however many leaves have it.
    """
    leaves, treedef = jax.tree.flatten(first, is_leaf=_is_none)
    columns = [leaves, *(_flatten_like(treedef, tree, rule) for tree in rest)]
    arrays = {name: value for name, value in hyper.items() if _is_array(value)}
    call = _compiled(rule, tuple((name, value) for name, value in hyper.items() if name not in arrays))
    rows = [None if row[0] is None else call(row, arrays) for row in zip(*columns, strict=True)]
    known = next((row for row in rows if row is not None), None)
    if known is None:  # nothing to map over, and still the number of results must be known
        known = jax.eval_shape(call, (jnp.float32(0),) * len(columns), arrays)
    if not isinstance(known, tuple):
        return treedef.unflatten(rows)
    kept = list(zip(*columns, strict=True))
    filled = [row if row is not None else old[: len(known)] for row, old in zip(rows, kept, strict=True)]
    return tuple(treedef.unflatten([row[i] for row in filled]) for i in range(len(known)))


def _is_none(x: Any) -> bool:
    return x is None


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def _flatten_like(treedef: Any, tree: PyTree, rule: Callable) -> list:
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{getattr(rule, '__name__', rule)}: the trees differ in structure: {error}") from error


@functools.lru_cache(maxsize=4096)
def _compiled(rule: Callable, static: tuple) -> Callable:
    """Return `rule` with its precision rule around it, jitted once for all calls with the same structure.

    A closure is called as it is: it may hold tracers, which must not outlive their trace in a cache.
    """

    def call(row: tuple, arrays: dict) -> Any:
        real = _widest(jax.tree.leaves(row))
        lifted = jax.tree.map(functools.partial(_in_precision, real=real), row)
        hyper = {
            name: _in_precision(x, real) if _is_array(x) or isinstance(x, float) else x
            for name, x in (*arrays.items(), *static)
        }
        results = rule(*lifted, **hyper)
        if not isinstance(results, tuple):
            return results.astype(row[0].dtype)
        return tuple(jax.tree.map(_store, new, old) for new, old in zip(results, row, strict=False))

    call.__name__ = call.__qualname__ = getattr(rule, "__name__", "rule")
    is_closure = getattr(rule, "__closure__", None) is not None or not hasattr(rule, "__code__")
    return call if is_closure else jax.jit(call)


def _widest(leaves: list) -> jnp.dtype:
    dtypes = [jnp.result_type(x) for x in leaves]
    floats = [numerics.at_least_float32(dtype) for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]
    return jnp.finfo(functools.reduce(jnp.promote_types, floats, jnp.dtype(jnp.float32))).dtype


def _in_precision(x: ArrayLike, real: DTypeLike) -> jax.Array:
    """Cast a float to the precision `real`, a complex one to its complex partner; leave integers, bools and keys."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return x.astype(jnp.result_type(real, jnp.complex64))
    return x.astype(real) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _store(new: jax.Array, old: jax.Array) -> jax.Array:
    return new.astype(old.dtype)


def zeros_like(tree: PyTree, dtype: DTypeLike | None = None) -> PyTree:
    """Return zeros shaped and sharded like `tree`, in `dtype` or else in at least float32: the moments' start."""
    return full_like(tree, 0, dtype)


def full_like(tree: PyTree, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> PyTree:
    """Return `fill_value` in the shape of every leaf, in `dtype` or else in at least float32."""

    def full(x: ArrayLike) -> jax.Array:
        return jnp.full_like(x, fill_value, dtype=dtype or numerics.at_least_float32(jnp.result_type(x)))

    return jax.tree.map(full, tree)


def real_full_like(tree: PyTree, fill_value: Any) -> PyTree:
    """Return `fill_value` in the shape of every leaf, real also for a complex one: the start of a mean of |g|²."""

    def full(x: ArrayLike) -> jax.Array:
        real = jnp.finfo(numerics.at_least_float32(jnp.result_type(x))).dtype
        return jnp.full_like(x, fill_value, dtype=real)

    return jax.tree.map(full, tree)


def copy(tree: PyTree) -> PyTree:
    """Return a tree with buffers of its own, in the same dtypes: what a state may keep of the parameters."""
    return jax.tree.map(lambda x: jnp.array(x, copy=True), tree)


def cast(tree: PyTree, dtype: DTypeLike | None) -> PyTree:
    """Cast the floating leaves to `dtype`; `None` leaves the tree as it is."""
    if dtype is None:
        return tree

    def to(x: ArrayLike) -> jax.Array:
        x = jnp.asarray(x)
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    return jax.tree.map(to, tree)


def cast_like(tree: PyTree, other: PyTree) -> PyTree:
    """Cast each leaf to the dtype of the leaf of `other` in its place."""
    return jax.tree.map(lambda x, y: jnp.asarray(x).astype(jnp.result_type(y)), tree, other)


def lift(tree: PyTree) -> PyTree:
    """Cast low-precision floats to float32; other leaves stay."""
    return jax.tree.map(numerics.lift, tree)


def add(x: PyTree, y: PyTree) -> PyTree:
    """Return x + y, leaf by leaf."""
    return jax.tree.map(jnp.add, x, y)


def sub(x: PyTree, y: PyTree) -> PyTree:
    """Return x - y, leaf by leaf."""
    return jax.tree.map(jnp.subtract, x, y)


def scale(scalar: ArrayLike, tree: PyTree) -> PyTree:
    """Return scalar * x for every leaf x, in the leaf's own dtype."""
    return map_leaves(_scale_leaf, tree, scalar=scalar)


def _scale_leaf(x: jax.Array, *, scalar: jax.Array) -> jax.Array:
    return scalar * x


def where(condition: ArrayLike, x: PyTree, y: PyTree) -> PyTree:
    """Return the leaves of `x` where the scalar `condition` holds, else those of `y`; never 0 * NaN."""
    return jax.tree.map(functools.partial(jnp.where, condition), x, y)


def vdot(x: PyTree, y: PyTree) -> jax.Array:
    """Return sum(conj(x) * y) over all leaves, in at least float32; 0 for an empty tree."""
    return _total(jax.tree.map(lambda a, b: jnp.sum(jnp.conj(numerics.lift(a)) * numerics.lift(b)), x, y))


def sum(tree: PyTree) -> jax.Array:
    """Return the sum of all entries, in at least float32; 0 for an empty tree."""
    return _total(jax.tree.map(lambda x: jnp.sum(numerics.lift(x)), tree))


def norm(tree: PyTree, *, squared: bool = False) -> jax.Array:
    """Return the Euclidean norm of all entries, or its square: real, in at least float32; 0 for an empty tree."""
    total = _total(jax.tree.map(_sum_sq, tree))
    return total if squared else numerics.safe_sqrt(total)


@jax.jit
def _sum_sq(x: jax.Array) -> jax.Array:
    return jnp.sum(numerics.abs_sq(x.astype(numerics.at_least_float32(x.dtype))))


def _total(scalars: PyTree) -> jax.Array:
    leaves = jax.tree.leaves(scalars)
    dtype = functools.reduce(jnp.promote_types, [leaf.dtype for leaf in leaves], jnp.dtype(jnp.float32))
    return functools.reduce(jnp.add, [leaf.astype(dtype) for leaf in leaves], jnp.zeros((), dtype))


def size(tree: PyTree) -> int:
    """Return the number of entries of all leaves together."""
    return int(math.fsum(jnp.size(leaf) for leaf in jax.tree.leaves(tree)))


def paths(tree: PyTree) -> list[str]:
    """Return the names of the leaves, in order: `layer/kernel`; the `.value` of flax's boxes is left out."""
    return [checks.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def map_with_path(f: Callable, tree: PyTree, *rest: PyTree) -> PyTree:
    """Apply `f(name, leaf, ...)` with the leaf's name spelt as in `paths`."""
    return jax.tree_util.tree_map_with_path(lambda path, *xs: f(checks.path_name(path), *xs), tree, *rest)


def unbox(tree: PyTree) -> PyTree:
    """Replace flax's single-array boxes (nnx variables, linen metadata) by their arrays.

    The parameters look the same then at init, where flax shows the boxes, and at update, where it does not.
    """
    return jax.tree.map(lambda node: jax.tree.leaves(node)[0] if _is_box(node) else node, tree, is_leaf=_is_box)


def _is_box(node: Any) -> bool:
    children = jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)
    return len(children) == 1 and children[0][0] == (jax.tree_util.GetAttrKey("value"),)


def broadcast(prefix: PyTree, tree: PyTree, what: str) -> PyTree:
    """Return `tree`'s structure with each leaf replaced by the leaf of `prefix` above it."""
    try:
        return jax.tree.map(lambda leaf, node: jax.tree.map(lambda _: leaf, node), prefix, tree)
    except ValueError as error:
        names = f"{what} at {paths(prefix)}, parameters at {paths(tree)}"
        kinds = f"a {type(prefix).__name__} for a {type(tree).__name__}"
        raise ValueError(f"{what}: no prefix of the parameters, {kinds}: {names}") from error

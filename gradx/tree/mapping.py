"""`map_leaves`: it carries a leaf rule over trees, and decides in which precision the rule computes."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

from gradx import numerics
from gradx.tree.structure import paths
from gradx.typing import PyTree


def map_leaves(rule: Callable, first: PyTree, *rest: PyTree, **hyper: Any) -> Any:
    """Apply `rule(x, y, ..., **hyper)` to the leaves of `first` and of the trees beside it.

    Args:
      rule: a function of arrays.
      first: the tree that says where leaves are; gradients, as a rule.
      *rest: trees of the same structure.
      **hyper: what the rule takes by name: numbers, the same at every leaf.

    Returns one tree for each array that the rule returns; a rule that returns one array gives one tree.

    * Leaves are computed with in the widest precision among them, float32 at least, hyperparameters included; the i-th
      result is stored in the dtype of the i-th tree. So the trees that a rule renews come first, in the order of its
      results, and those that it only reads come last.
    * Where `first` is `None` there is no gradient: the first result is `None` there, the others keep what was stored.
    * Arrays and Python floats in `hyper` are arguments of the compiled rule, which serves all their values; integers
      and everything else are constants of it. A leaf of another tree may be a node: the rule gets it whole.
    * The rule is traced once for each shape, however many leaves have it, and n of them cost the time of √n to trace.
    * A rule with a keyword-only argument `path` gets the leaf's name, `"layer/kernel"`, may branch on it in Python, and
      is traced for each leaf.

    >>> from gradx import tree
    >>> def leaf(g, m, *, decay):
    ...     m = decay * m + g
    ...     return -m, m
    >>> updates, moments = tree.map_leaves(leaf, {"w": 1.0}, {"w": 2.0}, decay=0.5)
    >>> float(updates["w"]), float(moments["w"])
    (-2.0, 2.0)
    """
    leaves, treedef = jax.tree.flatten(first, is_leaf=_is_none)
    columns = [leaves, *(_flatten_like(treedef, tree, rule) for tree in rest)]
    arrays = {name: value for name, value in hyper.items() if _is_array(value)}
    constants = tuple((name, value) for name, value in hyper.items() if name not in arrays)
    if "path" not in hyper and _asks_for_path(rule):
        on_each = _on_each_path(rule, constants, paths(first))
    elif _is_closure(rule):
        on_each = _on_each(rule, constants)
    else:
        on_each = _compiled(rule, constants)
    kept = list(zip(*columns, strict=True))
    present = [row for row in kept if row[0] is not None]
    results = iter(on_each(present, arrays))
    rows = [None if row[0] is None else next(results) for row in kept]
    known = next((row for row in rows if row is not None), None)
    if known is None:  # nothing to map over, and still the number of results must be known
        known = jax.eval_shape(on_each, [(jnp.float32(0),) * len(columns)], arrays)[0]
    if not isinstance(known, tuple):
        return treedef.unflatten(rows)
    filled = [row if row is not None else old[: len(known)] for row, old in zip(rows, kept, strict=True)]
    return tuple(treedef.unflatten([row[i] for row in filled]) for i in range(len(known)))


def _is_none(x: Any) -> bool:
    return x is None


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic | float | complex)


def _is_closure(rule: Callable) -> bool:
    return getattr(rule, "__closure__", None) is not None or not hasattr(rule, "__code__")


def _asks_for_path(rule: Callable) -> bool:
    code = getattr(rule, "__code__", None)
    return code is not None and "path" in code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]


def _flatten_like(treedef: Any, tree: PyTree, rule: Callable) -> list:
    try:
        return treedef.flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"{getattr(rule, '__name__', rule)}: the trees differ in structure: {error}") from error


@functools.lru_cache(maxsize=1024)
def _compiled(rule: Callable, static: tuple) -> Callable:
    """Return the rule for many rows, jitted once for all calls with the same constants.

    In a trace rows of the same types go √n at a time, so that n of them make 2·√n calls: a list of them, traced once,
    and as many calls of that. XLA takes the calls apart again.
    """
    one = jax.jit(_in_common_precision(rule, static))
    several = jax.jit(functools.wraps(rule)(lambda rows, arrays: [one(row, arrays) for row in rows]))

    def on_each(rows: list[tuple], arrays: dict) -> list:
        groups: dict[Any, list[int]] = {}
        for i, row in enumerate(rows):
            groups.setdefault(_types_in_trace(row) or i, []).append(i)
        results: dict[int, Any] = {}
        for group in groups.values():
            size = math.isqrt(len(group))
            for start in range(0, len(group), size):
                chosen = group[start : start + size]
                found = several([rows[i] for i in chosen], arrays) if size > 1 else [one(rows[chosen[0]], arrays)]
                results.update(zip(chosen, found, strict=True))
        return [results[i] for i in range(len(rows))]

    return on_each


def _types_in_trace(row: tuple) -> tuple:
    """Return what makes rows interchangeable in a trace; concrete arrays lie where they lie, perhaps apart."""
    leaves, treedef = jax.tree.flatten(row)
    is_traced = any(isinstance(x, Tracer) for x in leaves)
    return (treedef, *map(jax.typeof, leaves)) if is_traced else ()


def _on_each(rule: Callable, constants: tuple) -> Callable:
    """Return a closure for many rows, called as it is: what it holds, tracers perhaps, must not outlive it."""
    call = _in_common_precision(rule, constants)
    return lambda rows, arrays: [call(row, arrays) for row in rows]


def _on_each_path(rule: Callable, constants: tuple, names: list[str]) -> Callable:
    """Return a rule for many rows that may branch on the name of each."""

    def on_each(rows: list[tuple], arrays: dict) -> list:
        named = [_in_common_precision(rule, (*constants, ("path", name))) for name in names or [""] * len(rows)]
        return [call(row, arrays) for call, row in zip(named, rows, strict=True)]

    return on_each


def _in_common_precision(rule: Callable, static: tuple) -> Callable:
    """Return `rule` with the decision on its precision around it."""

    @jax.numpy_dtype_promotion("standard")  # which dtypes meet is decided here, also where a user's code is strict
    def call(row: tuple, arrays: dict) -> Any:
        real = _widest(jax.tree.leaves(row))
        lifted = jax.tree.map(functools.partial(_in_precision, real=real), row)
        hyper = {name: _in_precision(x, real) if _is_array(x) else x for name, x in (*arrays.items(), *static)}
        results = rule(*lifted, **hyper)
        if not isinstance(results, tuple):
            return _store(results, row[0])
        return tuple(jax.tree.map(_store, new, old) for new, old in zip(results, row, strict=False))

    call.__name__ = call.__qualname__ = getattr(rule, "__name__", "rule")
    return call


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
    return numerics.cast(new, jnp.result_type(old))

"""Arithmetic on trees, leaf by leaf."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.tree.mapping import map_leaves
from gradx.typing import PyTree


def add(tree_x: PyTree, tree_y: PyTree, *other_trees: PyTree) -> PyTree:
    """Return x + y + ..., with JAX's promotion of dtypes."""
    return jax.tree.map(lambda *leaves: functools.reduce(jnp.add, leaves), tree_x, tree_y, *other_trees)


def sub(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x - y, with JAX's promotion of dtypes."""
    return jax.tree.map(jnp.subtract, tree_x, tree_y)


def mul(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x * y, with JAX's promotion of dtypes."""
    return jax.tree.map(jnp.multiply, tree_x, tree_y)


def div(tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return x / y, with JAX's promotion of dtypes; a division by zero gives infinity or NaN."""
    return jax.tree.map(jnp.divide, tree_x, tree_y)


def scale(scalar: ArrayLike, tree: PyTree) -> PyTree:
    """Return scalar * x for every leaf x, in the leaf's own dtype."""
    return map_leaves(_scale_leaf, tree, scalar=scalar)


def _scale_leaf(x: jax.Array, *, scalar: jax.Array) -> jax.Array:
    return scalar * x


def add_scale(tree_x: PyTree, scalar: ArrayLike, tree_y: PyTree) -> PyTree:
    """Return x + scalar * y, computed in the wider precision of both and stored in the dtypes of `tree_x`."""
    return map_leaves(_add_scale_leaf, tree_x, tree_y, scalar=scalar)


def _add_scale_leaf(x: jax.Array, y: jax.Array, *, scalar: jax.Array) -> jax.Array:
    return x + scalar * y


def clip(tree: PyTree, min_value: ArrayLike | None = None, max_value: ArrayLike | None = None) -> PyTree:
    """Return the entries moved into [min_value, max_value], in the leaf's own dtype; `None` is no bound."""
    bounds = {name: x for name, x in (("low", min_value), ("high", max_value)) if x is not None}
    return map_leaves(_clip_leaf, tree, **bounds) if bounds else tree


def _clip_leaf(x: jax.Array, *, low: ArrayLike | None = None, high: ArrayLike | None = None) -> jax.Array:
    return jnp.clip(x, low, high)


def conj(tree: PyTree) -> PyTree:
    """Return the complex conjugates; real leaves stay."""
    return jax.tree.map(jnp.conj, tree)


def real(tree: PyTree) -> PyTree:
    """Return the real parts, in real dtypes."""
    return jax.tree.map(jnp.real, tree)


def where(condition: ArrayLike, tree_x: PyTree, tree_y: PyTree) -> PyTree:
    """Return the leaves of `tree_x` where the scalar `condition` holds, else those of `tree_y`; never 0 * NaN."""
    return jax.tree.map(functools.partial(jnp.where, condition), tree_x, tree_y)

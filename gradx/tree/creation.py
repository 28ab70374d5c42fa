"""New trees in the shape of others. They keep the sharding of the leaves that they are shaped like."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jax.typing import ArrayLike, DTypeLike

from gradx import numerics
from gradx.tree.casts import real_dtype
from gradx.typing import PyTree


def zeros_like(tree: PyTree, dtype: DTypeLike | None = None) -> PyTree:
    """Return zeros in the shape of every leaf, in `dtype` or else in at least float32: the moments' start.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.zeros_like({"w": 3.0}))
    {'w': 0.0}
    """
    return full_like(tree, 0, dtype)


def ones_like(tree: PyTree, dtype: DTypeLike | None = None) -> PyTree:
    """Return ones in the shape of every leaf, in `dtype` or else in at least float32.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.ones_like({"w": 3.0}))
    {'w': 1.0}
    """
    return full_like(tree, 1, dtype)


def full_like(tree: PyTree, fill_value: ArrayLike, dtype: DTypeLike | None = None) -> PyTree:
    """Return `fill_value` in the shape of every leaf, in `dtype` or else in at least float32.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.full_like({"w": 1.0}, 5.0))
    {'w': 5.0}
    """

    def full(x: ArrayLike) -> jax.Array:
        return _full(x, fill_value, dtype or numerics.at_least_float32(jnp.result_type(x)))

    return jax.tree.map(full, tree)


def real_full_like(tree: PyTree, fill_value: Any) -> PyTree:
    """Return `fill_value` in the shape of every leaf, real also for a complex one: the start of a mean of |g|².

    >>> from gradx import tree
    >>> str(tree.real_full_like({"w": 1.0 + 2.0j}, 0.0)["w"].dtype)
    'float32'
    """

    def full(x: ArrayLike) -> jax.Array:
        real = jnp.finfo(numerics.at_least_float32(jnp.result_type(x))).dtype
        return _full(x, fill_value, real)

    return jax.tree.map(full, tree)


def scalar_like(tree: PyTree, value: Any) -> jax.Array:
    """Return a number, or an array of numbers, in the `real_dtype` of the leaves: what a state begins to sum or track.

    Args:
      value: the number.

    In a shard_map it varies over the mesh axes over which a leaf does, as what is computed from the leaves will.

    >>> from gradx import tree
    >>> float(tree.scalar_like({"w": 1.0}, 0.5))
    0.5
    """
    return numerics.vary_together(jnp.array(value, real_dtype(tree)), tree)[0]


def _full(x: ArrayLike, fill_value: ArrayLike, dtype: DTypeLike) -> jax.Array:
    if isinstance(x, jax.Array) and not isinstance(x, Tracer) and _is_apart(x.sharding):
        return jax.device_put(jnp.full(x.shape, fill_value, dtype), x.sharding)  # jax fills the default memory alone
    return lax.full_like(x, fill_value, dtype)


def _is_apart(sharding: jax.sharding.Sharding) -> bool:
    """Whether arrays lie in another than the default memory of their devices, in the host's say."""
    default = next(iter(sharding.device_set)).default_memory().kind
    return sharding.memory_kind not in (None, default)


def copy(tree: PyTree) -> PyTree:
    """Return a tree with buffers of its own, in the same dtypes: what a state may keep of the parameters.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.copy({"w": 1.0}))
    {'w': 1.0}
    """
    return jax.tree.map(lambda x: jnp.array(x, copy=True), tree)


def batch_shape(tree: PyTree, shape: tuple[int, ...] = ()) -> PyTree:
    """Repeat every leaf along new axes `shape` in front of its own: (*shape, *leaf.shape).

    Args:
      shape: the new axes.

    >>> from gradx import tree
    >>> import jax.numpy as jnp
    >>> tree.batch_shape({"w": jnp.ones(3)}, (2,))["w"].shape
    (2, 3)
    """
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *jnp.shape(x))), tree)


def split_key_like(rng_key: jax.Array, target_tree: PyTree) -> PyTree:
    """Return a tree like `target_tree` with another random key at each leaf.

    >>> from gradx import tree
    >>> import jax
    >>> sorted(tree.split_key_like(jax.random.key(0), {"w": 1.0, "b": 2.0}))
    ['b', 'w']
    """
    treedef = jax.tree.structure(target_tree)
    return treedef.unflatten(list(jax.random.split(rng_key, treedef.num_leaves)))


def random_like(
    rng_key: jax.Array,
    target_tree: PyTree,
    sampler: Callable[..., jax.Array] = jax.random.normal,
    dtype: DTypeLike | None = None,
) -> PyTree:
    """Return random numbers in the shape of every leaf, each leaf with a key of its own.

    Args:
      rng_key: the key; equal keys give equal trees, however the leaves are sharded.
      target_tree: leaves with shape and dtype.
      sampler: called as `sampler(key, shape, dtype)`: `jax.random.normal`, `jax.random.rademacher`, ...
      dtype: what the sampler is asked for; the leaf's own by default.

    >>> from gradx import tree
    >>> import jax, jax.numpy as jnp
    >>> params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    >>> jax.tree.map(jnp.shape, tree.random_like(jax.random.key(0), params))
    {'b': (3,), 'w': (2, 3)}
    """

    def draw(key: jax.Array, x: ArrayLike) -> jax.Array:
        drawn = sampler(key, jnp.shape(x), dtype or jnp.result_type(x))
        return jnp.full_like(x, 0, dtype=drawn.dtype) + drawn

    return jax.tree.map(draw, split_key_like(rng_key, target_tree), target_tree)

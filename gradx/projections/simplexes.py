"""Projections onto the simplex and onto spheres and balls of the L1 norm, of all leaves of a tree together.

All three subtract a threshold, and the threshold is found by Newton's method on sums over the leaves: nothing is
sorted or concatenated, so leaves keep their shapes and their sharding.

>>> import jax.numpy as jnp
>>> from gradx.projections import projection_simplex
>>> projection_simplex({"w": jnp.array([1.0, -1.0]), "b": jnp.array([0.5])})
{'b': Array([0.25], dtype=float32), 'w': Array([0.75, 0.  ], dtype=float32)}
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics, tree as tree_
from gradx.projections import common
from gradx.typing import PyTree


def projection_simplex(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Project onto the simplex: argmin ‖y − x‖² with y ≥ 0 and Σ y = scale; y = max(x − τ, 0).

    τ solves Σ max(x − τ, 0) = scale over the entries of all leaves together. Newton's steps for it rise from below and
    end at the exact support (Michelot 1986, "A finite algorithm for finding the projection of a point onto the
    canonical simplex of Rⁿ"); the derivative is that of the last linear piece, exact and of any order.

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      scale: what the entries sum to, a scalar ≥ 0; 0 gives zeros.

    Raises:
      ValueError: a negative concrete scale, or a tree without entries.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in projections.projection_simplex(jnp.array([0.5, 1.0, -1.0])).tolist()]
    [0.25, 0.75, 0.0]
    """
    owner = "projection_simplex"
    common.refuse_empty(owner, tree)
    x = common.lift(owner, tree)
    total = common.scalar(owner, "scale", scale, common.working_dtype(x), minimum=0.0)
    return common.store(_onto_simplex(x, total), tree)


def projection_l1_sphere(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Project onto the sphere Σ |y| = scale of the L1 norm: |x| goes to the simplex, and the signs stay.

    An entry of 0 counts as positive: where the sphere has several nearest points, that one is given, so that the
    result always lies on the sphere (Optax gives 0 there, which does not).

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      scale: the radius, a scalar ≥ 0; 0 gives zeros.

    Raises:
      ValueError: a negative concrete scale, or a tree without entries.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in projections.projection_l1_sphere(jnp.array([0.25, -0.25])).tolist()]
    [0.5, -0.5]
    """
    owner = "projection_l1_sphere"
    common.refuse_empty(owner, tree)
    x = common.lift(owner, tree)
    radius = common.scalar(owner, "scale", scale, common.working_dtype(x), minimum=0.0)
    return common.store(_onto_l1_sphere(x, radius), tree)


def projection_l1_ball(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Project onto the ball Σ |y| ≤ scale of the L1 norm: x itself inside, else sign(x) · max(|x| − τ, 0).

    Inside and on the boundary x is given back bit for bit and the derivative is the identity. For τ see
    `projection_simplex`.

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      scale: the radius, a scalar ≥ 0; 0 gives zeros.

    Raises:
      ValueError: a negative concrete scale.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in projections.projection_l1_ball(jnp.array([2.0, -1.5])).tolist()]
    [0.75, -0.25]
    """
    owner = "projection_l1_ball"
    x = common.lift(owner, tree)
    radius = common.scalar(owner, "scale", scale, common.working_dtype(x), minimum=0.0)
    inside = tree_.sum(jax.tree.map(jnp.abs, x)) <= radius
    return common.store(tree_.where(inside, x, _onto_l1_sphere(x, radius)), tree)


def _onto_l1_sphere(x: PyTree, radius: jax.Array) -> PyTree:
    signs = jax.tree.map(lambda leaf: jnp.where(leaf < 0, -1, 1).astype(leaf.dtype), x)
    # sign * x and not abs: its derivative at 0 is 1, the side on which the entry is counted
    magnitudes = _onto_simplex(jax.tree.map(jnp.multiply, signs, x), radius)
    return jax.tree.map(jnp.multiply, signs, magnitudes)


def _onto_simplex(x: PyTree, total: jax.Array) -> PyTree:
    # y does not change when a constant is added to x; with the largest entry at 0, nothing cancels in the sums
    top = common.peak(x)
    x = jax.tree.map(lambda leaf: leaf - top, x)
    level = _support_level(*numerics.vary_together(*jax.lax.stop_gradient((x, total))))
    threshold = (_sum_above(x, level) - total) / _count_above(x, level)
    # what is NaN is not below the level
    return jax.tree.map(lambda leaf: jnp.where(leaf <= level, 0, jnp.maximum(leaf - threshold, 0)), x)


def _support_level(x: PyTree, total: jax.Array) -> jax.Array:
    """Return a level that exactly the entries with y > 0 exceed, for `x` whose largest entry is 0.

    At -total the sum of the excesses is `total` or more; the sum is convex and falls with the level, so Newton's steps
    rise towards the root, and the number of entries above shrinks until it is the support's.
    """

    def shrinking(state: tuple) -> jax.Array:
        _, count, last_count = state
        return count < last_count

    def newton(state: tuple) -> tuple:
        level, count, _ = state
        level = jnp.maximum(level, (_sum_above(x, level) - total) / count)
        return level, _count_above(x, level), count

    count = _count_above(x, -total)
    start = (-total, count, 2 * count)  # any number above the first
    return jax.lax.while_loop(shrinking, newton, start)[0]


def _sum_above(x: PyTree, level: jax.Array) -> jax.Array:
    return tree_.sum(jax.tree.map(lambda leaf: jnp.where(leaf > level, leaf, 0), x))


def _count_above(x: PyTree, level: jax.Array) -> jax.Array:
    """Return the number of entries above `level`, at least 1, as a float: an int32 would overflow on large models."""
    return jnp.maximum(tree_.sum(jax.tree.map(lambda leaf: (leaf > level).astype(leaf.dtype), x)), 1)

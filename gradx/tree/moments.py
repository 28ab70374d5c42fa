"""Running means of powers of the gradient, for those who write an algorithm of their own.

The algorithms of gradx have their moments inside their leaf rules, where one loop makes moment and update together.
`None` in `updates` leaves the moment as it is; moments keep their dtype, whatever that of the updates.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics
from gradx.tree.mapping import map_leaves
from gradx.typing import PyTree


def update_moment(updates: PyTree, moments: PyTree, decay: ArrayLike, order: int | float) -> PyTree:
    """Return decay * m + (1 - decay) * g**order.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.update_moment({"w": 1.0}, {"w": 4.0}, 0.5, 1))
    {'w': 2.5}
    """
    return map_leaves(_moment_leaf, updates, moments, decay=decay, order=order)[1]


def _moment_leaf(g: jax.Array, m: jax.Array, *, decay: ArrayLike, order: int | float) -> tuple:
    return g, decay * m + (1 - decay) * g**order


def update_moment_per_elem_norm(updates: PyTree, moments: PyTree, decay: ArrayLike, order: int | float) -> PyTree:
    """Return decay * m + (1 - decay) * |g|**order: real, also for complex `g`; begin with `real_full_like(params, 0)`.

    An even order needs no root, so that its derivative at 0 is finite.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.update_moment_per_elem_norm({"w": 2.0}, {"w": 0.0}, 0.5, 2))
    {'w': 2.0}
    """
    if order % 2 == 0:
        return map_leaves(_even_moment_leaf, updates, moments, decay=decay, half=int(order) // 2)[1]
    return map_leaves(_norm_moment_leaf, updates, moments, decay=decay, order=order)[1]


def _even_moment_leaf(g: jax.Array, m: jax.Array, *, decay: ArrayLike, half: int) -> tuple:
    return g, decay * m + (1 - decay) * numerics.abs_sq(g) ** half


def _norm_moment_leaf(g: jax.Array, m: jax.Array, *, decay: ArrayLike, order: int | float) -> tuple:
    return g, decay * m + (1 - decay) * numerics.safe_sqrt(numerics.abs_sq(g)) ** order


def update_infinity_moment(updates: PyTree, moments: PyTree, decay: ArrayLike, eps: ArrayLike) -> PyTree:
    """Return max(|g| + eps, decay * m), as AdaMax wants it: real, also for complex `g`.

    Args:
      eps: added to |g|, at least 0.

    >>> from gradx import tree
    >>> import jax
    >>> jax.tree.map(float, tree.update_infinity_moment({"w": -1.0}, {"w": 4.0}, 0.5, 0.0))
    {'w': 2.0}
    """
    return map_leaves(_infinity_moment_leaf, updates, moments, decay=decay, eps=eps)[1]


def _infinity_moment_leaf(g: jax.Array, m: jax.Array, *, decay: ArrayLike, eps: ArrayLike) -> tuple:
    return g, jnp.maximum(jnp.abs(g) + eps, decay * m)


def bias_correction(moment: PyTree, decay: ArrayLike, count: ArrayLike) -> PyTree:
    """Return m / (1 - decay**count), the mean that a moving average started at 0 stands for.

    Args:
      moment: m, a tree.
      decay: of the average, in [0, 1).
      count: the updates that the average has seen, at least 1.

    >>> from gradx import tree
    >>> round(float(tree.bias_correction({"w": 1.0}, 0.75, 1)["w"]), 4)
    4.0
    """
    return map_leaves(_divide_leaf, moment, weight=numerics.bias_correction(decay, count))


def _divide_leaf(m: jax.Array, *, weight: jax.Array) -> jax.Array:
    return m / weight

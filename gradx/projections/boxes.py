"""Projections onto boxes: each entry is clipped by itself.

>>> import jax.numpy as jnp
>>> from gradx.projections import projection_box
>>> projection_box({"w": jnp.array([-3.0, 0.5, 7.0])}, 0.0, {"w": jnp.array([1.0, 1.0, 5.0])})
{'w': Array([0. , 0.5, 5. ], dtype=float32)}
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx import checks
from gradx.projections import common
from gradx.typing import PyTree


def projection_non_negative(tree: PyTree) -> PyTree:
    """Project onto the non-negative orthant: y = max(x, 0), entry by entry.

    `tree` is a pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
    The derivative where x = 0 is 1/2.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> projections.projection_non_negative(jnp.array([-1.0, 0.5, 2.0])).tolist()
    [0.0, 0.5, 2.0]
    """
    x = common.lift("projection_non_negative", tree)
    return common.store(jax.tree.map(lambda leaf: jnp.maximum(leaf, 0), x), tree)


def projection_box(tree: PyTree, lower: Any, upper: Any) -> PyTree:
    """Project onto a box: argmin ‖y − x‖² with lower ≤ y ≤ upper, that is y = min(max(x, lower), upper).

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      lower: the least each entry may be: a number, a tree like `tree`, or a prefix of one; each leaf of it a scalar
        or of the shape of the leaf that it bounds. May be infinite.
      upper: the most each entry may be, likewise.

    An entry on a bound has derivative 1/2, one beyond it 0. Where traced bounds cross, `upper` holds.

    Raises:
      ValueError: bounds that fit no leaf, or concrete numbers with lower > upper.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> projections.projection_box(jnp.array([-1.0, 0.5, 2.0]), 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return _clip("projection_box", tree, lower, upper)


def projection_hypercube(tree: PyTree, scale: Any = 1) -> PyTree:
    """Project onto the hypercube [0, scale]ⁿ: y = min(max(x, 0), scale).

    `scale` ≥ 0 is a number, a tree like `tree` or a prefix of one; all else is as for `projection_box`.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> projections.projection_hypercube(jnp.array([-1.0, 0.5, 2.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    _refuse_negative("projection_hypercube", scale)
    return _clip("projection_hypercube", tree, 0.0, scale)


def projection_linf_ball(tree: PyTree, scale: Any = 1) -> PyTree:
    """Project onto the ball of the maximum norm: argmin ‖y − x‖² with max |y| ≤ scale.

    `scale` ≥ 0 is a number, a tree like `tree` or a prefix of one; all else is as for `projection_box`.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> projections.projection_linf_ball(jnp.array([-3.0, 0.5, 2.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    owner = "projection_linf_ball"
    _refuse_negative(owner, scale)
    lower = jax.tree.map(jnp.negative, common.lift(owner, scale))  # lifted first: an unsigned integer has no negative
    return _clip(owner, tree, lower, scale)


def _refuse_negative(owner: str, scale: PyTree) -> None:
    for leaf in jax.tree.leaves(scale):
        common.refuse_below(owner, "scale", leaf, 0.0)


def _clip(owner: str, tree: PyTree, lower: PyTree, upper: PyTree) -> PyTree:
    x = common.lift(owner, tree)
    lows, highs = _spread(owner, "lower", lower, x), _spread(owner, "upper", upper, x)
    leaves, treedef = jax.tree.flatten(x)
    clipped = []
    for leaf, low, high in zip(leaves, lows, highs, strict=True):
        _refuse_crossed(owner, low, high)
        bounds = [jnp.broadcast_to(jnp.asarray(bound).astype(leaf.dtype), leaf.shape) for bound in (low, high)]
        clipped.append(jnp.minimum(jnp.maximum(leaf, bounds[0]), bounds[1]))
    return common.store(treedef.unflatten(clipped), tree)


def _spread(owner: str, name: str, bound: PyTree, x: PyTree) -> list:
    """Return one bound for each leaf of `x`, in order, from a prefix of it."""
    spread: list = []
    try:
        jax.tree.map(lambda b, node: spread.extend([b] * len(jax.tree.leaves(node))), bound, x)
    except ValueError as error:
        raise ValueError(f"{owner}: {name} is no scalar, and no tree over the leaves of x: {error}") from error
    for one, leaf in zip(spread, jax.tree.leaves(x), strict=True):
        if np.shape(one) not in ((), leaf.shape):
            message = f"{name} is {checks.describe(one)}, but the leaf that it bounds is {checks.describe(leaf)}"
            raise ValueError(f"{owner}: {message}")
    return spread


def _refuse_crossed(owner: str, low: Any, high: Any) -> None:
    concrete = not any(isinstance(bound, jax.Array) for bound in (low, high))
    if concrete and np.any(np.asarray(low, np.float64) > np.asarray(high, np.float64)):
        raise ValueError(f"{owner}: lower must not exceed upper, got lower={low!r}, upper={high!r}")

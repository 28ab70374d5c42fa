"""Projections onto spheres and balls of the Euclidean norm, of all leaves of a tree together.

>>> import jax.numpy as jnp
>>> from gradx.projections import projection_l2_ball
>>> projection_l2_ball({"w": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}, scale=1.0)
{'b': Array([0.8], dtype=float32), 'w': Array([0.6, 0. ], dtype=float32)}
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import tree as tree_
from gradx.projections import common
from gradx.typing import PyTree


def projection_l2_sphere(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Project onto the sphere ‖y‖₂ = scale: y = scale · x / ‖x‖₂, the norm taken over all leaves together.

    At x = 0 every point of the sphere is equally near: the one with all entries alike, scale / √n, is given, and the
    derivative is 0. Tiny and huge entries neither vanish nor overflow in the norm.

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      scale: the radius, a scalar ≥ 0.

    Raises:
      ValueError: a negative concrete scale, or a tree without entries.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in projections.projection_l2_sphere(jnp.array([0.3, 0.4])).tolist()]
    [0.6, 0.8]
    """
    owner = "projection_l2_sphere"
    common.refuse_empty(owner, tree)
    x = common.lift(owner, tree)
    radius = common.scalar(owner, "scale", scale, common.working_dtype(x), minimum=0.0)
    direction, length, _ = _polar(x)
    start = 1 / math.sqrt(tree_.size(x))
    sphere = jax.tree.map(lambda d: radius * jnp.where(length == 0, jnp.full_like(d, start), d), direction)
    return common.store(sphere, tree)


def projection_l2_ball(tree: PyTree, scale: ArrayLike = 1) -> PyTree:
    """Project onto the ball ‖y‖₂ ≤ scale: y = x · min(1, scale / ‖x‖₂), the norm taken over all leaves together.

    Inside and on the boundary x is given back bit for bit and the derivative is the identity. Tiny and huge entries
    neither vanish nor overflow in the norm.

    Args:
      tree: pytree of real arrays; the result has its structure, shapes and floating dtypes (integers give float32).
      scale: the radius, a scalar ≥ 0; 0 gives zeros.

    Raises:
      ValueError: a negative concrete scale.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in projections.projection_l2_ball(jnp.array([3.0, 4.0])).tolist()]
    [0.6, 0.8]
    """
    owner = "projection_l2_ball"
    x = common.lift(owner, tree)
    radius = common.scalar(owner, "scale", scale, common.working_dtype(x), minimum=0.0)
    direction, length, unit = _polar(x)
    inside = length <= jax.lax.stop_gradient(radius) / unit  # False for NaN, which is then all that is given
    ball = jax.tree.map(lambda leaf, d: jnp.where(inside, leaf, radius * d), x, direction)
    return common.store(ball, tree)


def _polar(x: PyTree) -> tuple[PyTree, jax.Array, jax.Array]:
    """Return x / ‖x‖ (0 at 0), and ‖x‖ as length · unit, the unit about the largest entry.

    The unit is a constant for differentiation, which is right because the direction does not change when x is scaled.
    """
    unit = common.unit(x)
    scaled = jax.tree.map(lambda leaf: leaf / unit, x)
    length = tree_.norm(scaled)
    return jax.tree.map(lambda leaf: leaf / jnp.where(length == 0, 1, length), scaled), length, unit
